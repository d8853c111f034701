use std::{any::type_name, borrow::Cow, str::FromStr};

use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};

/// A user's id, as the application's table of users has it: text, an integer or a [`Uuid`].
///
/// Every call that concerns a user takes a `UserId`. The column `user_id` holds its text: an integer in decimal
/// digits, a `Uuid` in lower case with hyphens. The text must have 1 to 255 bytes and no U+0000. A call with any
/// other text fails as [`InvalidUserId`](ErrorKind::InvalidUserId).
///
/// ```
/// use std::borrow::Cow;
/// use sessile::UserId;
///
/// /// An application's own type.
/// #[derive(Debug, PartialEq)]
/// struct CustomerId(i64);
///
/// impl UserId for CustomerId {
///     fn text(&self) -> Cow<'_, str> {
///         self.0.to_string().into()
///     }
/// }
///
/// /// To read it back: `session.user_id_as::<CustomerId>()`.
/// impl std::str::FromStr for CustomerId {
///     type Err = std::num::ParseIntError;
///
///     fn from_str(text: &str) -> Result<Self, Self::Err> {
///         text.parse().map(Self)
///     }
/// }
///
/// # async fn example(session: sessile::Session) -> Result<(), sessile::Error> {
/// session.log_in(CustomerId(7)).await?;
/// assert_eq!(session.user_id_as::<CustomerId>()?, Some(CustomerId(7)));
/// # Ok(()) }
/// ```
pub trait UserId {
    /// The id as text. Two ids are the same user if and only if their texts are equal.
    fn text(&self) -> Cow<'_, str>;
}

impl UserId for str {
    fn text(&self) -> Cow<'_, str> {
        self.into()
    }
}

impl UserId for String {
    fn text(&self) -> Cow<'_, str> {
        self.into()
    }
}

impl UserId for Cow<'_, str> {
    fn text(&self) -> Cow<'_, str> {
        (**self).into()
    }
}

impl UserId for Uuid {
    fn text(&self) -> Cow<'_, str> {
        self.to_string().into()
    }
}

impl<T: UserId + ?Sized> UserId for &T {
    fn text(&self) -> Cow<'_, str> {
        (**self).text()
    }
}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl UserId for $integer {
            fn text(&self) -> Cow<'_, str> {
                self.to_string().into()
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

/// The id's text, if every database can hold it: Postgres cannot store U+0000, and an index limits the size
/// of its keys.
pub(crate) fn checked(user_id: &impl UserId) -> Result<String> {
    let text = user_id.text();
    check_user_id(&text)?;
    Ok(text.into_owned())
}

pub(crate) fn check_user_id(user_id: &str) -> Result<()> {
    const MAX: usize = 255;
    let message = if user_id.is_empty() {
        "the user id is empty"
    } else if user_id.len() > MAX {
        "the user id is longer than 255 bytes"
    } else if user_id.contains('\0') {
        "the user id holds U+0000"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidUserId, message))
}

/// A stored id as a `T`. An id that differs from the text of the `T` is refused, because a call with that `T` would
/// concern another user.
pub(crate) fn parse<T: UserId + FromStr>(user_id: &str) -> Result<T> {
    let parsed = user_id.parse::<T>().ok().filter(|parsed| parsed.text() == user_id);
    parsed.ok_or_else(|| {
        let message = format!(
            "the session's user id is not the text of a {}: read it as text, with `user_id`",
            type_name::<T>()
        );
        Error::new(ErrorKind::WrongType, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_text() {
        let uuid = Uuid::from_u128(0xabc);
        let text = "00000000-0000-0000-0000-000000000abc";
        assert_eq!(uuid.text(), text);
        assert_eq!((&&7_u8).text(), "7");
        assert_eq!((-7_i64).text(), "-7");
        assert_eq!(u128::MAX.text(), "340282366920938463463374607431768211455");
        assert_eq!(["ada".text(), "ada".to_owned().text(), Cow::from("ada").text()], ["ada"; 3]);
        assert_eq!(parse::<Uuid>(text).unwrap(), uuid);
        assert_eq!(parse::<i64>("-7").unwrap(), -7);
        assert_eq!(parse::<String>("Ada ").unwrap(), "Ada ");
    }

    #[test]
    fn a_text_that_names_another_user_is_not_read() {
        let refused = [
            parse::<i64>("007").map(drop),
            parse::<i64>("+7").map(drop),
            parse::<u8>("256").map(drop),
            parse::<i64>("ada").map(drop),
            parse::<Uuid>("00000000-0000-0000-0000-000000000ABC").map(drop),
            parse::<Uuid>("00000000000000000000000000000abc").map(drop),
        ];
        for refused in refused {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WrongType, "{error}");
        }
        let error = parse::<i64>("ada@example.com").unwrap_err();
        assert!(error.to_string().contains("i64") && !error.to_string().contains("ada"), "{error}");
    }
}
