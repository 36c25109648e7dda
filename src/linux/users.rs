//! Names of this machine's users.

use std::ffi::CStr;
use std::ptr;

/// The longest entry that is read. getpwuid_r(3) wants room for all its texts; `_SC_GETPW_R_SIZE_MAX` suggests 1 KiB.
const ROOM: usize = 16 * 1024;

/// The name of the user with this number; `None` where there is no such user, or the name is not one that records could
/// show (POSIX, "Portable User Names": letters, digits, `.`, `_` and `-`).
///
/// It may ask a directory service, so it can take as long as that does.
pub fn name(user: u32) -> Option<String> {
    let mut texts = [0; ROOM];
    let mut found = ptr::null_mut();
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    // SAFETY: it writes one `passwd`, texts of at most the length given, and a pointer; all of them outlive the call.
    let error = unsafe {
        libc::getpwuid_r(user, entry.as_mut_ptr(), texts.as_mut_ptr(), texts.len(), &raw mut found)
    };
    if error != 0 || found.is_null() {
        return None;
    }
    // SAFETY: it found the user, so it filled `entry`, whose name is a text in `texts` that ends with a zero.
    let name = unsafe { CStr::from_ptr(entry.assume_init_ref().pw_name) };
    let name = name.to_str().ok()?;
    let portable = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (!name.is_empty() && name.bytes().all(portable)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn root_has_a_name_and_a_number_of_nobodys_has_none() {
        assert_eq!(super::name(0).as_deref(), Some("root"));
        assert_eq!(super::name(u32::MAX - 7), None);
    }
}
