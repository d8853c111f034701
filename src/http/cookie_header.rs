//! The `Cookie` header, byte for byte.
//!
//! The promise of a `__Host-` name holds only for the bytes that the browser compared. So this parser does no
//! percent-decoding and no case folding, trims only the blanks that separate cookies, and ignores other cookies.

use ::http::{HeaderMap, header::COOKIE};

/// The values of all cookies of that name, in their order.
pub(super) fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|&byte| byte == b';'))
        .filter_map(move |pair| trim(pair).strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// `Debug` of a sensitive value does not show it, so middleware and panics that print a request do not print its token.
pub(super) fn mark_as_sensitive(headers: &mut HeaderMap) {
    if !headers.contains_key(COOKIE) {
        return;
    }
    for (_, value) in headers.iter_mut().filter(|(name, _)| **name == COOKIE) {
        value.set_sensitive(true);
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

    fn found(headers: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(COOKIE, HeaderValue::from_bytes(header).unwrap());
        }
        values(&map, "__Host-id").map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn the_name_is_compared_byte_for_byte() {
        assert_eq!(found(&[b"a=1; __Host-id=x; b=2"]), [b"x"]);
        assert_eq!(found(&[b"\t__Host-id=x \t"]), [b"x"]);
        assert_eq!(found(&[b"__Host-id=a=b"]), [b"a=b"]);
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
            assert!(found(&[other]).is_empty(), "{}", other.escape_ascii());
        }
    }

    #[test]
    fn a_neighbour_hurts_nobody() {
        assert_eq!(found(&[b"a=\xff\xfe; \"; ==; =; ;; __Host-id=x;"]), [b"x"]);
    }

    #[test]
    fn the_same_name_is_found_as_often_as_it_comes() {
        assert_eq!(found(&[b"__Host-id=x; __Host-id=x"]), [b"x", b"x"]);
        assert_eq!(found(&[b"__Host-id=x; a=1", b"__Host-id=y"]), [b"x", b"y"]);
        assert_eq!(found(&[b"a=1", b"__Host-id=y"]), [b"y"]);
    }

    #[test]
    fn only_cookies_are_sensitive() {
        let value = HeaderValue::from_static("a=b");
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, value.clone());
        headers.append(COOKIE, value.clone());
        headers.append("accept", value);
        mark_as_sensitive(&mut headers);
        assert!(headers.get_all(COOKIE).iter().all(HeaderValue::is_sensitive));
        assert!(!headers["accept"].is_sensitive());
    }
}
