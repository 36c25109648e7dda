//! What the person in charge orders, and where devices stand after it.

use std::time::{Duration, Instant};

use ztgate::model::{Label, MemberState};
use ztgate::sync::{Actor, DeviceView, Done, Edit, Order, OrderError, Profile};

use super::{Live, SOON};

impl Live {
    /// Has an order carried out that is in order.
    #[track_caller]
    pub fn order(&self, order: Order) -> impl Future<Output = Done> + use<> {
        let asked = format!("{order:?}");
        let orders = self.started.as_ref().unwrap().feed.orders.clone();
        async move { orders.carry_out(order, mum()).await.unwrap_or_else(|error| panic!("{asked}: {error}")) }
    }

    /// Why an order is not carried out.
    pub async fn refuses(&self, order: Order) -> String {
        let asked = format!("{order:?}");
        match self.try_order(order).await {
            Err(OrderError { text, .. }) => text,
            Ok(done) => panic!("{asked} came to {done:?}"),
        }
    }

    pub async fn try_order(&self, order: Order) -> Result<Done, OrderError> {
        let done = self.started.as_ref().unwrap().feed.orders.carry_out(order, mum()).await;
        self.is_up_to_date().await;
        done
    }

    /// Waits until requests are judged by the newest roster.
    pub async fn is_up_to_date(&self) {
        let begin = Instant::now();
        while !self.gateway().is_up_to_date() {
            assert!(begin.elapsed() < SOON, "the newest roster is not put in force");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Admits a device that waits, by its name in this world and into these groups.
    pub async fn admit(&self, device: &str, groups: &[&str]) -> Done {
        let done = self.order(self.admission(device, groups)).await;
        self.is_up_to_date().await;
        done
    }

    /// The order that admits it.
    pub fn admission(&self, device: &str, groups: &[&str]) -> Order {
        let groups = groups.iter().copied().map(label).collect();
        let profile = Profile { name: Some(label(device)), groups, ..Profile::default() };
        Order::Admit { id: self.id(device), profile, ahead: false }
    }

    /// Waits until an order is on its way to the disk.
    pub async fn gives_a_name(&self) {
        let mut naming = self.started.as_ref().unwrap().feed.naming.clone();
        let named = naming.wait_for(|naming| !naming.is_empty());
        tokio::time::timeout(SOON, named).await.expect("no order gives a name").unwrap();
    }

    /// Every device as lists show it.
    pub fn devices(&self) -> Vec<DeviceView> {
        self.started.as_ref().unwrap().feed.devices.borrow().iter().map(|device| (**device).clone()).collect()
    }

    /// A device as lists show it.
    pub fn device(&self, name: &str) -> DeviceView {
        let id = self.id(name);
        let found = self.devices().into_iter().find(|device| device.member == id);
        found.unwrap_or_else(|| panic!("{name} is not in the list"))
    }

    /// Waits until a device stands there and the controller has nothing to be told of it.
    pub async fn settles(&self, device: &str, state: MemberState) {
        let begin = Instant::now();
        loop {
            let view = self.device(device);
            if view.state == state && view.queued.is_none() {
                return self.is_up_to_date().await;
            }
            assert!(begin.elapsed() < SOON * 4, "{device} is not {state} in peace: {view:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Has the controller asked now, and waits for what comes of it: how it differs from us, or why it is no answer.
    pub async fn look(&self) -> Result<Done, OrderError> {
        self.try_order(Order::Sync { dry_run: true }).await
    }

    /// Whom the controller was told to let in (`true`) or to put out, in order and by name, as far as it did.
    pub fn told(&self) -> Vec<(&str, bool)> {
        let told = self.network.authorizations().into_iter();
        told.map(|(id, yes)| (self.plan.name_of(id).expect("a device of this world"), yes)).collect()
    }
}

pub fn suspend(who: &str) -> Order {
    Order::Suspend { who: who.to_owned(), why: None }
}

pub fn revoke(who: &str) -> Order {
    Order::Revoke { who: who.to_owned(), why: None }
}

pub fn restore(who: &str) -> Order {
    Order::Restore { who: who.to_owned(), until: None }
}

pub fn edit(who: &str, edit: Edit) -> Order {
    Order::Edit { who: who.to_owned(), edit }
}

/// Puts a device into some groups and takes it out of others.
pub fn regroup(who: &str, add: &[&str], remove: &[&str]) -> Order {
    let labels = |words: &[&str]| words.iter().copied().map(label).collect();
    edit(who, Edit::Groups { add: labels(add), remove: labels(remove) })
}

pub fn label(text: &str) -> Label {
    text.parse().unwrap()
}

/// Who orders here.
fn mum() -> Actor {
    Actor::named("mum")
}
