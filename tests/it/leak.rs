//! The secrets that a thief would search for, in every spelling of bytes that software uses.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use sha2::{Digest, Sha256};

use crate::support::Browser;

pub(crate) struct Leak {
    pub(crate) id: [u8; 16],
    pub(crate) secret: [u8; 32],
    token: String,
}

impl Leak {
    /// The contents of the browser's cookie.
    pub(crate) fn of(browser: &Browser) -> Self {
        let token = browser.cookie.clone().expect("the browser has a cookie");
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        let (id, secret) = bytes.split_at(16);
        Self { id: id.try_into().unwrap(), secret: secret.try_into().unwrap(), token }
    }

    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }

    /// Whether the text contains enough to make the cookie.
    pub(crate) fn is_in(&self, text: impl AsRef<[u8]>) -> bool {
        let text = text.as_ref();
        contains(text, self.token.as_bytes())
            || spellings(&self.secret).iter().any(|spelling| contains(text, spelling))
    }

    /// Whether the text contains the hash. A hash makes no cookie, but it must not be shown either.
    pub(crate) fn hash_is_in(&self, text: impl AsRef<[u8]>) -> bool {
        spellings(&self.hash()).iter().any(|spelling| contains(text.as_ref(), spelling))
    }
}

/// A cookie's value.
pub(crate) fn token(id: &[u8; 16], secret: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode([&id[..], &secret[..]].concat())
}

fn spellings(bytes: &[u8; 32]) -> Vec<Vec<u8>> {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{bytes:?}");
    let escaped = bytes.escape_ascii().to_string();
    let mut all = vec![
        bytes.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        list.replace(", ", ",").trim_matches(['[', ']']).into(),
        list.trim_matches(['[', ']']).into(),
        escaped.replace('\\', "\\\\").into_bytes(),
        escaped.into_bytes(),
    ];
    // At each position in a longer base64 text.
    for from in 0..3 {
        let whole = &bytes[from..from + 27];
        all.push(STANDARD_NO_PAD.encode(whole).into_bytes());
        all.push(URL_SAFE_NO_PAD.encode(whole).into_bytes());
    }
    all
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[test]
fn every_spelling_is_found() {
    let secret = std::array::from_fn(|n| n as u8 * 7);
    let leak = Leak { id: [3; 16], secret, token: token(&[3; 16], &secret) };
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    for text in [
        leak.token.clone(),
        leak.token[22..].to_owned(),
        STANDARD_NO_PAD.encode([&b"a"[..], &secret].concat()),
        hex.to_uppercase(),
        format!("\\x{hex}"),
        format!("{secret:?}"),
        format!("{:?}", secret.escape_ascii().to_string()),
    ] {
        assert!(leak.is_in(format!("before {text} after")), "{text}");
    }
    assert!(leak.is_in([&b"before"[..], &secret, b"after"].concat()));
    assert!(!leak.is_in("before after") && !leak.is_in(format!("{:?}", [3; 16])));
}
