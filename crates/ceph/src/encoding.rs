//! The few of Ceph's binary encodings that object class calls need.
//!
//! Numbers are little-endian; a string is its length (`u32`) and its bytes; a map is its size
//! (`u32`) and its keys and values in turn (Ceph's `include/encoding.h`).

pub(crate) mod structs;

use crate::error::Errno;

/// Appends a string or a buffer.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Errno> {
    let length = u32::try_from(bytes.len()).map_err(|_too_long| Errno::new(libc::E2BIG))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// One string as whole input: class `rbd`, method `set_id`.
pub(crate) fn one_string(text: &str) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    put_bytes(&mut out, text.as_bytes())?;
    Ok(out)
}

/// Two strings in turn: class `rbd`, methods `dir_add_image` and `dir_remove_image`.
pub(crate) fn two_strings(first: &str, second: &str) -> Result<Vec<u8>, Errno> {
    let mut out = one_string(first)?;
    put_bytes(&mut out, second.as_bytes())?;
    Ok(out)
}

/// The input of class `rbd`, method `create`: `u64` size, `u8` order, `u64` features, `string`
/// object prefix, `i64` data pool (-1: none).
pub(crate) fn header(size: u64, order: u8, features: u64, prefix: &str) -> Result<Vec<u8>, Errno> {
    let mut out = size.to_le_bytes().to_vec();
    out.push(order);
    out.extend_from_slice(&features.to_le_bytes());
    put_bytes(&mut out, prefix.as_bytes())?;
    out.extend_from_slice(&(-1_i64).to_le_bytes());
    Ok(out)
}

/// The input of class `rbd`, method `object_map_resize`: `u64` objects, `u8` their state (0:
/// nonexistent).
pub(crate) fn object_map(objects: u64) -> Vec<u8> {
    let mut out = objects.to_le_bytes().to_vec();
    out.push(0);
    out
}

/// The input of class `rbd`, method `metadata_set`: `map<string, bufferlist>`.
pub(crate) fn metadata(entries: &[(&str, &str)]) -> Result<Vec<u8>, Errno> {
    let count = u32::try_from(entries.len()).map_err(|_too_many| Errno::new(libc::E2BIG))?;
    let mut out = count.to_le_bytes().to_vec();
    for (key, value) in entries {
        put_bytes(&mut out, key.as_bytes())?;
        put_bytes(&mut out, value.as_bytes())?;
    }
    Ok(out)
}

/// Reads a string that fills the whole input, as in `rbd_id.*` and the values of `rbd_directory`.
pub(crate) fn string(input: &[u8]) -> Result<String, Errno> {
    let malformed = || Errno::new(libc::EBADMSG);
    let (length, text) = input.split_first_chunk::<4>().ok_or_else(malformed)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok();
    if length != Some(text.len()) {
        return Err(malformed());
    }
    String::from_utf8(text.to_vec()).map_err(|_not_text| malformed())
}

/// Reads the answer of class `rbd`, method `get_size`: `u8` order, `u64` bytes.
pub(crate) fn order_and_size(input: &[u8]) -> Result<(u8, u64), Errno> {
    match input.split_first_chunk::<1>() {
        Some(([order], rest)) => match rest.first_chunk::<8>() {
            Some(size) => Ok((*order, u64::from_le_bytes(*size))),
            None => Err(Errno::new(libc::EBADMSG)),
        },
        None => Err(Errno::new(libc::EBADMSG)),
    }
}

/// How many watchers a notification reached, and how many did not answer it: the answer is a map
/// from `(u64 client, u64 cookie)` to each one's reply, and a set of those without one.
pub(crate) fn notified(input: &[u8]) -> Result<u64, Errno> {
    let malformed = || Errno::new(libc::EBADMSG);
    let (answered, mut rest) = input.split_first_chunk::<4>().ok_or_else(malformed)?;
    let answered = u32::from_le_bytes(*answered);
    for _watcher in 0..answered {
        let (_key, reply) = rest.split_first_chunk::<16>().ok_or_else(malformed)?;
        let (length, reply) = reply.split_first_chunk::<4>().ok_or_else(malformed)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_wide| malformed())?;
        rest = reply.get(length..).ok_or_else(malformed)?;
    }
    let (silent, _rest) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
    Ok(u64::from(answered).saturating_add(u32::from_le_bytes(*silent).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_whole_or_not_at_all() {
        assert_eq!(string(b"\x03\0\0\0abc").unwrap(), "abc");
        assert_eq!(string(b"\0\0\0\0").unwrap(), "");
        for wrong in [
            &b""[..],
            b"\x03\0\0",
            b"\x03\0\0\0ab",
            b"\x01\0\0\0ab",
            b"\x01\0\0\0\xff",
        ] {
            assert_eq!(string(wrong), Err(Errno::new(libc::EBADMSG)));
        }
    }

    #[test]
    fn metadata_is_a_map() {
        let encoded = metadata(&[("k", "vv"), ("", "")]).unwrap();
        assert_eq!(
            encoded,
            b"\x02\0\0\0\x01\0\0\0k\x02\0\0\0vv\0\0\0\0\0\0\0\0"
        );
    }

    #[test]
    fn order_and_size_follow_each_other() {
        assert_eq!(
            order_and_size(b"\x16\0\0\0\x40\0\0\0\0").unwrap(),
            (22, 1 << 30)
        );
        order_and_size(b"\x16\0\0").unwrap_err();
        order_and_size(b"").unwrap_err();
    }

    #[test]
    fn watchers_are_counted_whether_they_answered_or_not() {
        assert_eq!(notified(&[0; 8]), Ok(0));
        let mut answer = vec![1, 0, 0, 0];
        answer.extend([7; 16]);
        answer.extend([2, 0, 0, 0, 9, 9]);
        answer.extend([2, 0, 0, 0]);
        answer.extend([7; 32]);
        assert_eq!(notified(&answer), Ok(3));
        for length in 0..answer.len() - 32 {
            assert!(notified(&answer[..length]).is_err(), "{length}");
        }
    }
}
