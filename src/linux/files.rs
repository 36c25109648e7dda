//! What a filesystem is asked about a file of ours.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `FS_NOCOW_FL` of linux/fs.h, which libc does not name.
const NO_COPY_ON_WRITE: libc::c_int = 0x0080_0000;

/// Asks a filesystem that writes changes elsewhere (btrfs) to write those of this file in place. It can only be asked of a
/// file that is still empty.
///
/// # Errors
/// Those of `FS_IOC_SETFLAGS` (ioctl_iflags(2)): most filesystems know no such thing, because they write in place anyhow.
pub fn keep_in_place(file: &File) -> io::Result<()> {
    let mut flags: libc::c_int = 0;
    // SAFETY: the kernel writes one int, whatever the request's number says of its size (ioctl_iflags(2)).
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_GETFLAGS, &raw mut flags) } != 0 {
        return Err(io::Error::last_os_error());
    }
    flags |= NO_COPY_ON_WRITE;
    // SAFETY: the kernel reads one int.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_SETFLAGS, &raw const flags) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    /// The kernel's answer is the filesystem's own; that it is one, and that the file can be used after it, is ours.
    #[test]
    fn whatever_the_filesystem_says_the_file_takes_what_is_written() {
        use std::io::{Read, Seek, Write};
        let mut file = tempfile::tempfile().unwrap();
        if let Err(error) = super::keep_in_place(&file) {
            let known = [libc::EOPNOTSUPP, libc::ENOTTY, libc::EINVAL];
            assert!(known.contains(&error.raw_os_error().unwrap()), "{error}");
        }
        file.write_all(b"held").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "held");
    }
}
