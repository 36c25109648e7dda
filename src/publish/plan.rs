//! What is to stand at the name server, and what has to change for that. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::config::{Config, Publish};
use crate::model::{MemberId, NetworkId};
use crate::nameserver::{Change, Data, Found, Kind, Record};

/// The gateway's own name in the zone.
const GATE: &str = "gate";

/// One name and kind of records at the server.
pub type Slot = (String, Kind);

/// What is to stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// An empty set wants none of that kind.
    pub slots: BTreeMap<Slot, BTreeSet<Data>>,
    /// Names of which nothing is known right now: what stands there stays.
    pub unknown: BTreeSet<String>,
    /// Seconds.
    pub ttl: u32,
}

/// What is to stand at the server: the names of gate, services and aliases with the gateway's addresses on the overlay, and
/// the house's name with those that the command told. Addresses that are not known leave what stands there.
pub fn wanted(
    config: &Config,
    publish: &Publish,
    overlay: &[IpAddr],
    house: Option<&BTreeSet<IpAddr>>,
) -> Wanted {
    let mut wanted = Wanted { ttl: publish.ttl, ..Wanted::default() };
    if publish.services {
        let services = config
            .services
            .iter()
            .flat_map(|service| std::iter::once(&service.name).chain(&service.aliases))
            .map(|label| label.as_str());
        for label in std::iter::once(GATE).chain(services) {
            wanted.put(config.zone.name(label), (!overlay.is_empty()).then_some(overlay.iter()));
        }
    }
    if let Some(public) = &publish.public {
        wanted.put(public.name.clone(), house.map(BTreeSet::iter));
    }
    wanted
}

/// The addresses of the gateway that are worth a record: those that the network manages. The ones that ZeroTier derives are
/// the same machine in more digits, and take their place only where there are no others.
pub fn managed(addresses: &[IpAddr], own: Option<MemberId>, network: NetworkId) -> Vec<IpAddr> {
    let derived = |address: &IpAddr| match (address, own) {
        (IpAddr::V6(v6), Some(own)) => own.derives(network, *v6),
        _ => false,
    };
    let managed: Vec<IpAddr> = addresses.iter().filter(|address| !derived(address)).copied().collect();
    if managed.is_empty() { addresses.to_vec() } else { managed }
}

impl Wanted {
    fn put<'a>(&mut self, name: String, addresses: Option<impl Iterator<Item = &'a IpAddr>>) {
        let Some(addresses) = addresses else {
            self.unknown.insert(name);
            return;
        };
        for kind in [Kind::A, Kind::Aaaa] {
            self.slots.entry((name.clone(), kind)).or_default();
        }
        for data in addresses.map(|address| Data::from(*address)) {
            self.slots.entry((name.clone(), data.kind())).or_default().insert(data);
        }
    }
}

/// What is to change, and what is in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub add: Vec<Line>,
    pub remove: Vec<Line>,
    /// Records of others where ours should stand: nothing is changed there.
    pub foreign: Vec<Foreign>,
    /// How many of ours stand there as they should.
    pub right: usize,
    /// Seconds that the added ones may be kept.
    pub ttl: u32,
}

/// One record in a plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Line {
    pub name: String,
    pub kind: Kind,
    #[serde(serialize_with = "as_text")]
    pub data: Data,
}

/// A name and kind that somebody else has records at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Foreign {
    pub name: String,
    pub kind: Kind,
    #[serde(serialize_with = "as_texts")]
    pub found: Vec<Data>,
    /// Where a CNAME leads that stands there; it cannot be adopted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// As the name server takes them, all in one update: a name is never without an address in between.
    pub fn changes(&self) -> Vec<Change> {
        let remove = self
            .remove
            .iter()
            .map(|line| Change::Remove { name: line.name.clone(), data: line.data.clone() });
        let add = self.add.iter().map(|line| {
            Change::Add(Record { name: line.name.clone(), ttl: self.ttl, data: line.data.clone() })
        });
        remove.chain(add).collect()
    }
}

/// What has to change. `ours` is what we published before, `found` what the server has now, at every slot of either;
/// `adopt` takes records of others in the way for ours.
pub fn plan(wanted: &Wanted, ours: &BTreeSet<Line>, found: &BTreeMap<Slot, Found>, adopt: bool) -> Plan {
    let mut plan = Plan { ttl: wanted.ttl, ..Plan::default() };
    let nothing = BTreeSet::new();
    for ((name, kind), found) in found {
        if wanted.unknown.contains(name) {
            continue;
        }
        let slot = (name.clone(), *kind);
        let should = wanted.slots.get(&slot).filter(|should| !should.is_empty());
        let records = match found {
            Found::Records(records) => records,
            Found::Alias(target) => {
                let foreign = Foreign {
                    name: name.clone(),
                    kind: *kind,
                    found: Vec::new(),
                    alias: Some(target.clone()),
                };
                plan.foreign.extend(should.map(|_| foreign));
                continue;
            }
        };
        let line = |data: &Data| Line { name: name.clone(), kind: *kind, data: data.clone() };
        let is_ours = |data: &Data| ours.contains(&line(data)) || (adopt && should.is_some());
        let is = |data: &Data| should.unwrap_or(&nothing).contains(data);
        let others: Vec<Data> = records
            .iter()
            .map(|record| record.data.clone())
            .filter(|data| !is_ours(data) && !is(data))
            .collect();
        let gone = records.iter().filter(|record| is_ours(&record.data) && !is(&record.data));
        plan.remove.extend(gone.map(|record| line(&record.data)));
        let Some(should) = should else { continue };
        if !others.is_empty() {
            plan.foreign.push(Foreign { name: name.clone(), kind: *kind, found: others, alias: None });
            continue;
        }
        for data in should {
            match records.iter().find(|record| record.data == *data) {
                // Somebody else's that says the same is left as it is.
                Some(record) if record.ttl == wanted.ttl || !is_ours(data) => plan.right += 1,
                _ => plan.add.push(line(data)),
            }
        }
    }
    plan
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.alias {
            Some(_) => write!(f, "{} CNAME", self.name),
            None => write!(f, "{} {}", self.name, self.kind),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}  {}", self.name, self.kind, self.data)
    }
}

fn as_text<S: serde::Serializer>(data: &Data, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(data)
}

fn as_texts<S: serde::Serializer>(data: &[Data], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(data.iter().map(ToString::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(publish: &str) -> Config {
        crate::config::from_text(
            &format!(
                "network = \"5e02d9cb41c0ffee\"\nzone = \"home.example.org\"\n\
                 [nameserver]\nserver = \"ns1\"\nzone = \"example.org\"\nkey = \"k\"\nsecret_file = \"s\"\n\
                 [service.wiki]\nupstream = \"http://127.0.0.1:8080\"\naliases = [\"notes\"]\n[publish]\n{publish}"
            ),
            &[],
        )
        .unwrap_or_else(|problems| panic!("{}", crate::config::Problems(&problems)))
    }

    fn addresses(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn data(text: &str) -> Data {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn every_name_gets_the_overlay_s_addresses_and_the_house_its_own() {
        let config = config("services = true\npublic = \"house.example.org\"\naddress = [\"ip\"]\n");
        let publish = config.publish.as_ref().unwrap();
        let overlay = addresses(&["10.147.20.1", "fd00::1"]);
        let house = addresses(&["203.0.113.9"]).into_iter().collect();
        let all = wanted(&config, publish, &overlay, Some(&house));
        let texts: Vec<String> = all
            .slots
            .iter()
            .map(|((name, kind), data)| {
                let data: Vec<String> = data.iter().map(ToString::to_string).collect();
                format!("{name} {kind} {}", data.join(" "))
            })
            .collect();
        assert_eq!(
            texts,
            [
                "gate.home.example.org A 10.147.20.1",
                "gate.home.example.org AAAA fd00::1",
                "house.example.org A 203.0.113.9",
                "house.example.org AAAA ",
                "notes.home.example.org A 10.147.20.1",
                "notes.home.example.org AAAA fd00::1",
                "wiki.home.example.org A 10.147.20.1",
                "wiki.home.example.org AAAA fd00::1",
            ]
        );
        let none = wanted(&config, publish, &[], None);
        assert!(none.slots.is_empty());
        assert_eq!(none.unknown.len(), 4);
    }

    /// What comes of one slot: `wanted`, `ours`, `found` (with TTLs), as texts.
    fn one(wanted: Option<&[&str]>, ours: &[&str], found: &[(&str, u32)], adopt: bool) -> [Vec<String>; 3] {
        let slot = ("wiki.example.org".to_owned(), Kind::A);
        let line = |text: &&str| Line { name: slot.0.clone(), kind: Kind::A, data: data(text) };
        let mut want = Wanted { ttl: 300, ..Wanted::default() };
        if let Some(wanted) = wanted {
            want.slots.insert(slot.clone(), wanted.iter().map(|text| data(text)).collect());
        }
        let record = |&(text, ttl): &(&str, u32)| Record { name: slot.0.clone(), ttl, data: data(text) };
        let found = BTreeMap::from([(slot.clone(), Found::Records(found.iter().map(record).collect()))]);
        let plan = plan(&want, &ours.iter().map(line).collect(), &found, adopt);
        let texts = |lines: &[Line]| lines.iter().map(|line| line.data.to_string()).collect::<Vec<_>>();
        let foreign = plan.foreign.iter().flat_map(|foreign| &foreign.found).map(ToString::to_string);
        [texts(&plan.add), texts(&plan.remove), foreign.collect()]
    }

    #[test]
    fn only_what_is_ours_changes() {
        const A: &str = "10.0.0.1";
        const B: &str = "10.0.0.2";
        const X: &str = "192.0.2.7";
        type Texts<'a> = &'a [&'a str];
        type Row<'a> = (&'a str, Option<Texts<'a>>, Texts<'a>, &'a [(&'a str, u32)], bool, [Texts<'a>; 3]);
        let table: &[Row<'_>] = &[
            ("first", Some(&[A]), &[], &[], false, [&[A], &[], &[]]),
            ("as it should be", Some(&[A]), &[A], &[(A, 300)], false, [&[], &[], &[]]),
            ("moved", Some(&[B]), &[A], &[(A, 300)], false, [&[B], &[A], &[]]),
            ("another TTL", Some(&[A]), &[A], &[(A, 60)], false, [&[A], &[], &[]]),
            ("gone at the server", Some(&[A]), &[A], &[], false, [&[A], &[], &[]]),
            ("no longer wanted", None, &[A], &[(A, 300)], false, [&[], &[A], &[]]),
            ("never ours", None, &[], &[(X, 300)], false, [&[], &[], &[]]),
            ("in the way", Some(&[A]), &[], &[(X, 300)], false, [&[], &[], &[X]]),
            ("in the way beside ours", Some(&[B]), &[A], &[(A, 300), (X, 300)], false, [&[], &[A], &[X]]),
            ("somebody else's says the same", Some(&[A]), &[], &[(A, 60)], false, [&[], &[], &[]]),
            ("adopted", Some(&[A]), &[], &[(X, 300)], true, [&[A], &[X], &[]]),
            ("adopting takes only where ours should stand", None, &[], &[(X, 300)], true, [&[], &[], &[]]),
            ("none of that kind any more", Some(&[]), &[A], &[(A, 300)], false, [&[], &[A], &[]]),
            (
                "somebody else's beside a kind that we have none of",
                Some(&[]),
                &[],
                &[(X, 9)],
                false,
                [&[], &[], &[]],
            ),
            ("and it is not adopted", Some(&[]), &[A], &[(A, 300), (X, 9)], true, [&[], &[A], &[]]),
        ];
        for (what, wanted, ours, found, adopt, expected) in table {
            let [add, remove, foreign] = one(*wanted, ours, found, *adopt);
            assert_eq!([&add[..], &remove[..], &foreign[..]], *expected, "{what}");
        }
    }

    #[test]
    fn a_cname_is_in_the_way_of_its_own_name_only() {
        let slot = |name: &str| (format!("{name}.example.org"), Kind::A);
        let want = |names: &[&str]| Wanted {
            slots: names.iter().map(|name| (slot(name), BTreeSet::from([data("10.0.0.1")]))).collect(),
            ttl: 300,
            ..Wanted::default()
        };
        let found = BTreeMap::from([
            (slot("wiki"), Found::Alias("elsewhere.example.org".to_owned())),
            (slot("gate"), Found::Records(Vec::new())),
        ]);
        for adopt in [false, true] {
            let plan = plan(&want(&["wiki", "gate"]), &BTreeSet::new(), &found, adopt);
            assert_eq!(plan.add.iter().map(|line| &*line.name).collect::<Vec<_>>(), ["gate.example.org"]);
            let [foreign] = &plan.foreign[..] else { panic!("{plan:?}") };
            assert_eq!(foreign.alias.as_deref(), Some("elsewhere.example.org"));
        }
        assert!(plan(&want(&["gate"]), &BTreeSet::new(), &found, false).foreign.is_empty());
    }

    #[test]
    fn what_is_not_known_right_now_stays() {
        let slot = ("house.example.org".to_owned(), Kind::A);
        let ours = BTreeSet::from([Line { name: slot.0.clone(), kind: Kind::A, data: data("203.0.113.9") }]);
        let found = BTreeMap::from([(
            slot.clone(),
            Found::Records(vec![Record { name: slot.0.clone(), ttl: 300, data: data("203.0.113.9") }]),
        )]);
        let unknown = Wanted { unknown: BTreeSet::from([slot.0]), ttl: 300, ..Wanted::default() };
        assert!(plan(&unknown, &ours, &found, false).is_empty());
        assert_eq!(plan(&Wanted::default(), &ours, &found, false).remove.len(), 1);
    }
}
