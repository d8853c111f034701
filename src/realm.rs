use std::{fmt, str::FromStr, sync::Arc};

use crate::{
    error::{Error, ErrorKind},
    user_id::UserId,
};

/// The sessions of one application, if several share a database: `shop`, `office`. The empty name is the
/// default.
///
/// A cookie, a user id, a limit, a cut-off or a revocation of one realm has no meaning in another. Only the
/// cleanup works on all realms.
///
/// A name has 1 to 32 lower-case letters, digits, `-` or `_`, and begins with a letter or a digit.
/// `id` is not allowed, because the default realm's cookie has this name.
///
/// ```
/// let office: sessile::Realm = "office".parse()?;
/// assert_eq!(office.as_str(), "office");
/// assert!("Back Office".parse::<sessile::Realm>().is_err());
/// # Ok::<_, sessile::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Realm(
    /// `None` for the default realm. Most rows have it, so it costs no allocation.
    Option<Arc<str>>,
);

/// Begins the key of a realm's cut-off. A user id rarely begins with a unit separator. So the separator marks
/// the users of other realms, and those whose id begins with it.
const SEPARATOR: char = '\u{1f}';

impl Realm {
    /// The name; empty for the default realm.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// The realm in a session's row. A person may have written a text that is not a valid name. No application
    /// can have that realm, so the row belongs to nobody.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn of_row(name: &str) -> Self {
        Self((!name.is_empty()).then(|| name.into()))
    }

    /// The key under which the table of cut-offs stores a user of this realm, or everybody in it (the
    /// empty user id).
    ///
    /// In the default realm the key is the user id itself, as it was before there were realms. Every other key is
    /// the realm's name and the user id, each after a unit separator (U+001F). The same holds for a user
    /// id of the default realm that begins with a separator. No two keys are equal, because no realm's name
    /// contains a separator.
    pub fn cutoff_key(&self, user_id: impl UserId) -> String {
        let user_id = user_id.text();
        if self.0.is_none() && !user_id.starts_with(SEPARATOR) {
            return user_id.into_owned();
        }
        format!("{SEPARATOR}{self}{SEPARATOR}{user_id}")
    }
}

impl FromStr for Realm {
    type Err = Error;

    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if the text is not a valid name. The empty text is the
    /// default realm.
    fn from_str(name: &str) -> Result<Self, Error> {
        if name.is_empty() {
            return Ok(Self::default());
        }
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        let is_name =
            name.len() <= 32 && name.bytes().all(is_plain) && !name.starts_with(['-', '_']);
        if !is_name {
            let message = format!(
                "{name:?} is not a realm: 1 to 32 lower-case letters, digits, - or _, beginning with a letter or a digit"
            );
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        if name == "id" {
            let message =
                "a realm cannot be called \"id\": the default realm's cookie has that name";
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        Ok(Self(Some(name.into())))
    }
}

impl fmt::Display for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_name_is_checked() {
        for name in ["", "office", "0", "a-b_c", &"x".repeat(32)] {
            assert_eq!(name.parse::<Realm>().unwrap().as_str(), name);
        }
        for name in ["id", "Office", "-a", "_a", "a b", "a\u{1f}b", "é", "a;b", &"x".repeat(33)] {
            let error = name.parse::<Realm>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{name:?}");
        }
    }

    #[test]
    fn no_two_keys_of_cut_offs_are_equal() {
        let users =
            ["", "7", "office", "office\u{1f}7", "\u{1f}office\u{1f}7", "\u{1f}\u{1f}7", "\u{1f}"];
        let keys = ["", "office", "7"].map(|realm| {
            let realm: Realm = realm.parse().unwrap();
            users.map(|user| realm.cutoff_key(user))
        });
        let distinct: HashSet<_> = keys.iter().flatten().collect();
        assert_eq!(distinct.len(), 3 * users.len());
        // As before there were realms.
        assert_eq!(&keys[0][..3], ["", "7", "office"]);
    }
}
