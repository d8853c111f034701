//! The `Cookie` header, byte for byte.
//!
//! What a `__Host-` name promises holds only for the bytes that the browser compared: so no
//! percent-decoding, no trimming of anything but the blanks that separate cookies, no case folding,
//! and no opinion on other cookies.

use ::http::{HeaderMap, header::COOKIE};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Nothing,
    One(&'a [u8]),
    /// More than one of that name: somebody planted one of them, and nobody can tell which.
    Several,
}

pub(super) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Found<'a> {
    let mut values = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|&byte| byte == b';'))
        .filter_map(|pair| trim(pair).strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    match (values.next(), values.next()) {
        (None, _) => Found::Nothing,
        (Some(value), None) => Found::One(value),
        (Some(_), Some(_)) => Found::Several,
    }
}

fn trim(mut pair: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = pair {
        pair = rest;
    }
    pair
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    fn found(headers: &[&[u8]]) -> Option<Vec<u8>> {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(COOKIE, HeaderValue::from_bytes(header).unwrap());
        }
        match find(&map, "__Host-id") {
            Found::Nothing => None,
            Found::One(value) => Some(value.to_vec()),
            Found::Several => Some(b"several".to_vec()),
        }
    }

    #[test]
    fn the_name_is_compared_byte_for_byte() {
        assert_eq!(found(&[b"a=1; __Host-id=x; b=2"]).unwrap(), b"x");
        assert_eq!(found(&[b"\t__Host-id=x \t"]).unwrap(), b"x");
        assert_eq!(found(&[b"__Host-id=a=b"]).unwrap(), b"a=b");
        for other in [
            &b"%5F%5FHost-id=x"[..],
            b"__host-id=x",
            b"__Host-id =x",
            b"x__Host-id=x",
            b"__Host-id",
            b"\xc2\xa0__Host-id=x",
            b"\xe2\x80\x83__Host-id=x",
            b"a=\"; __Host-id\"",
        ] {
            assert_eq!(found(&[other]), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn a_neighbour_hurts_nobody() {
        assert_eq!(found(&[b"a=\xff\xfe; \"; ==; =; ;; __Host-id=x;"]).unwrap(), b"x");
    }

    #[test]
    fn the_same_name_twice_is_several() {
        assert_eq!(found(&[b"__Host-id=x; __Host-id=x"]).unwrap(), b"several");
        assert_eq!(found(&[b"__Host-id=x", b"__Host-id=y"]).unwrap(), b"several");
        assert_eq!(found(&[b"a=1", b"__Host-id=y"]).unwrap(), b"y");
    }
}
