//! Just enough HTTP/1.1 to read the heads that this rig itself makes.

/// The length of the head that `bytes` begins with, its empty line included; `None` while it is incomplete.
pub fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// The first value of a field.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    fields.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The declared length of the body; 0 without one.
pub fn content_length(head: &str) -> u64 {
    field(head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0)
}
