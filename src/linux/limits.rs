//! What the kernel allows this process: whose it is, and how many files it may have open (each connection is one or two).

use std::io;

/// The effective user's number.
pub fn user() -> u32 {
    // SAFETY: it has no preconditions and cannot fail (geteuid(2)).
    unsafe { libc::geteuid() }
}

/// The effective group's number.
pub fn group() -> u32 {
    // SAFETY: it has no preconditions and cannot fail (getegid(2)).
    unsafe { libc::getegid() }
}

/// Raises the soft limit on open files to the hard one, and tells what it is now. Needs no privilege.
///
/// # Errors
/// Those of getrlimit(2) and setrlimit(2); none is to be expected.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit`.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads one `rlimit`.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    #[test]
    fn raising_twice_says_the_same() {
        let raised = super::raise_open_files().unwrap();
        assert!(raised > 0);
        assert_eq!(super::raise_open_files().unwrap(), raised);
    }
}
