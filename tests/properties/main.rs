//! Property tests of what a browser or a row may hold: the functions of the fuzz targets (`fuzz/`), with inputs of the
//! right shape and with the corpus of the fuzzer.

use std::{fs, path::Path};

use proptest::{collection::vec, prelude::*, sample::select};

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "for the fuzz targets, this file is a library")]
mod inputs;

/// An id and a secret, as the browser has them.
const TOKEN: &[u8] = b"AZAAAAAAcACAAAAAAAAAASoqKioqKioqKioqKioqKioqKioqKioqKioqKioqKioq";

/// The id, as its text.
const ID: &str = "01900000-0000-7000-8000-000000000001";
const ID_BYTES: &[u8] = ID.as_bytes();

/// Up to `most` of these pieces, one after the other.
fn pieces(pieces: &'static [&'static [u8]], most: usize) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => select(pieces).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..most).prop_map(|pieces| pieces.concat())
}

/// A token with one character changed, and perhaps one more or one less.
fn almost_a_token() -> impl Strategy<Value = Vec<u8>> {
    (0..TOKEN.len(), any::<u8>(), 63..=65_usize).prop_map(|(at, byte, length)| {
        let mut token = [TOKEN, b"A"].concat();
        token[at] = byte;
        token.truncate(length);
        token
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cookie_is_a_token_or_costs_no_query(
        input in prop_oneof![almost_a_token(), vec(any::<u8>(), 0..80)]
    ) {
        inputs::token(&input);
    }

    #[test]
    fn a_session_is_opened_by_its_own_cookie_only(
        input in pieces(
            &[
                b"__Host-id=", b"\0", b"; ", b";", b" ", b"\t", b"\"", b"=", b"\n", b"a=1", b"__host-id=", b"%5F",
                b"\xc2\xa0", b"__Host-id", b"id=",
            ],
            12,
        )
    ) {
        inputs::cookie_header(&input);
    }

    #[test]
    fn data_is_kept_or_refused(
        input in pieces(
            &[
                b"{", b"}", b"{\"a\":", b"\"a\"", b"\"\\u0000\"", b"\"added\"", b":", b",", b"[", b"]", b"1", b"-0.0",
                b"1e400", b"null", b"true", b" ", b"\"\\ud800\"", b"\"sealed1.x.a.", b"18446744073709551616",
            ],
            14,
        )
    ) {
        inputs::data(&input);
    }

    #[test]
    fn nobody_without_the_key_seals_data(
        input in prop_oneof![
            // One bit of a sealed text, or none.
            (0..100_usize, 0..7).prop_map(|(at, bit)| [vec![0; at], vec![1_u8 << bit]].concat()),
            pieces(
                &[
                    b"{}", b"\"", b"sealed1.", b"sealed2.", b"x.", b"a.", b"b.", b".", b"AAAA", b"_-_-",
                    b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", b"=",
                ],
                8,
            ),
        ]
    ) {
        inputs::envelope(&input);
    }

    #[test]
    fn a_cursor_has_one_meaning(
        input in prop_oneof![
            any::<i64>().prop_map(|micros| format!("{micros}.{ID}").into_bytes()),
            pieces(
                &[b"0", b"9", b"-", b"+", b".", b"253402300799999999", ID_BYTES, b"{", b"urn:uuid:"],
                6,
            ),
        ]
    ) {
        inputs::cursor(&input);
    }
}

#[test]
fn every_input_that_the_fuzzer_kept_still_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    type Check = fn(&[u8]);
    let targets: [(&str, Check); 5] = [
        ("token", inputs::token),
        ("cookie_header", inputs::cookie_header),
        ("data", inputs::data),
        ("envelope", inputs::envelope),
        ("cursor", inputs::cursor),
    ];
    for (target, check) in targets {
        let files: Vec<_> = fs::read_dir(corpus.join(target)).unwrap().collect();
        assert!(!files.is_empty(), "{target}");
        for file in files {
            check(&fs::read(file.unwrap().path()).unwrap());
        }
    }
}
