//! Process groups: a program and all that it started.

/// Kills a process group, unless it is gone already. Only for the group of a child that was not waited for yet: its number
/// is nobody else's until then (waitpid(2), "zombie").
pub fn kill_group(leader: u32) {
    let Ok(group) = libc::pid_t::try_from(leader) else { return };
    // A group of 0 or 1 would be our own, or everybody.
    if group > 1 {
        // SAFETY: it takes two numbers and touches no memory (killpg(3)).
        unsafe { libc::killpg(group, libc::SIGKILL) };
    }
}
