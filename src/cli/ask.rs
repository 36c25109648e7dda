//! Asking the running gateway, from a command that waits for the answer.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use crate::admin::{self, AdminError};
use crate::linux::process;
use crate::push::Outcome;
use crate::sync::{Done, Order};

/// Asks the gateway that a configuration belongs to. It answers also while that has become wrong.
pub fn gateway<T: serde::de::DeserializeOwned>(config: &Path, target: &str) -> anyhow::Result<T> {
    let state_dir = super::state_dir(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(admin::get(&admin::socket(&state_dir), target))?)
}

/// Has the gateway that a configuration belongs to carry out an order.
pub fn order(config: &Path, order: &Order) -> anyhow::Result<Done> {
    let state_dir = super::state_dir(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(admin::order(&admin::socket(&state_dir), "/devices/order", order, ssh_client()))?)
}

/// From where the user came by SSH. We say so because only we can: sshd puts it into the environment, which the gateway may
/// not look into. The gateway records it as our word.
fn ssh_client() -> Option<IpAddr> {
    client(&process::inherited("SSH_CONNECTION")?.into_string().ok()?)
}

/// The client's address in `SSH_CONNECTION` (ssh(1)): it comes first, with the interface of a link-local one after a `%`.
fn client(connection: &str) -> Option<IpAddr> {
    let address = connection.split_ascii_whitespace().next()?;
    address.split('%').next()?.parse().ok()
}

/// Has the gateway that a configuration belongs to do something about the network's DNS setting.
pub fn push(config: &Path, order: &admin::PushOrder) -> anyhow::Result<Outcome> {
    let state_dir = super::state_dir(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(admin::order(&admin::socket(&state_dir), "/dns/push", order, ssh_client()))?)
}

/// Path and query of a question, with every value escaped (RFC 3986, section 2.1).
pub fn target(path: &str, query: &[(&str, &str)]) -> String {
    let mut target = path.to_owned();
    for (i, (key, value)) in query.iter().enumerate() {
        target.push(if i == 0 { '?' } else { '&' });
        target.push_str(key);
        target.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                target.push(char::from(byte));
            } else {
                target.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    target
}

/// Tells a wrong question (exit code 2), of a device that is not there, say, and an order that is not carried out (1) from
/// a failure to answer (3).
pub fn refused<T>(answer: anyhow::Result<T>) -> anyhow::Result<Result<T, ExitCode>> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(error) => match error.downcast_ref::<AdminError>() {
            Some(AdminError::WrongAsk(words)) => {
                eprintln!("ztgate: {words}");
                Ok(Err(ExitCode::from(super::WRONG)))
            }
            Some(AdminError::Declined(words)) => {
                eprintln!("ztgate: {words}");
                Ok(Err(ExitCode::from(super::NO)))
            }
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_question_a_no_and_no_answer_end_differently() {
        let wrong = refused::<()>(Err(AdminError::WrongAsk("no device".to_owned()).into()));
        assert_eq!(wrong.unwrap(), Err(ExitCode::from(2)));
        let no = refused::<()>(Err(AdminError::Declined("it is active already".to_owned()).into()));
        assert_eq!(no.unwrap(), Err(ExitCode::from(1)));
        for error in
            [AdminError::Refused("no roster yet".to_owned()), AdminError::Slow, AdminError::SlowOrder]
        {
            assert!(refused::<()>(Err(error.into())).is_err(), "which ends with 3");
        }
    }

    #[test]
    fn the_client_of_an_ssh_session_comes_first() {
        for (connection, address) in [
            ("192.168.1.20 51234 192.168.1.2 22", Some("192.168.1.20")),
            ("fe80::1%eth0 51234 fe80::2%eth0 22", Some("fe80::1")),
            ("UNKNOWN 65535 UNKNOWN 65535", None),
            ("", None),
        ] {
            assert_eq!(client(connection), address.and_then(|address| address.parse().ok()), "{connection}");
        }
    }

    #[test]
    fn values_cannot_break_out_of_their_place() {
        let target = target("/why", &[("device", "red-phone"), ("path", "/a b?x=1&y")]);
        assert_eq!(target, "/why?device=red-phone&path=%2Fa%20b%3Fx%3D1%26y");
    }
}
