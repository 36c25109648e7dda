//! The roster's task on a thread of its own: a disk that hangs then keeps nobody from hearing that somebody is out.

use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::poll::RosterTask;

/// How many things may be done aside at once: histories read, names of controllers looked up.
const ASIDE: usize = 4;

/// A running task. Dropping it ends the task, and waits for what it is writing.
#[derive(Debug)]
pub struct RosterThread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RosterTask {
    /// Runs until the returned value is dropped.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(self) -> std::io::Result<RosterThread> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("ztgate-aside")
            .max_blocking_threads(ASIDE)
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.run() => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("ztgate-members".to_owned()).spawn(run)?;
        Ok(RosterThread { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for RosterThread {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic was reported on its own thread already.
            let _ = thread.join();
        }
    }
}
