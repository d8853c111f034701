//! Finds values that JSON cannot represent. serde_json writes them as `null`, which reads back as another value.

use std::fmt;

use serde::ser::{self, Serialize};

/// Fails if the value holds a float that is not finite, or a `Some` of a value that JSON writes as `null`.
pub(super) fn check<T: Serialize + ?Sized>(value: &T) -> Result<(), Lossy> {
    value.serialize(Check { in_some: false })
}

/// The reason why a value would not read back unchanged.
#[derive(Debug)]
pub(super) struct Lossy(String);

impl fmt::Display for Lossy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lossy {}

impl ser::Error for Lossy {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// A serializer that writes nothing.
#[derive(Clone, Copy)]
struct Check {
    in_some: bool,
}

impl Check {
    fn float(self, value: f64) -> Result<(), Lossy> {
        match value.is_finite() {
            true => Ok(()),
            false => Err(Lossy(format!(
                "it holds the float {value}, which JSON has no form for: store it as a text"
            ))),
        }
    }

    fn null(self) -> Result<(), Lossy> {
        match self.in_some {
            true => Err(Lossy(
                "it holds a Some of None or of (), which JSON cannot tell from None: store an enum"
                    .to_owned(),
            )),
            false => Ok(()),
        }
    }
}

/// Scalars whose values all have a form in JSON.
macro_rules! scalars {
    ($($method:ident: $scalar:ty),* $(,)?) => {
        $(fn $method(self, _: $scalar) -> Result<(), Lossy> {
            Ok(())
        })*
    };
}

/// Compound types. Their parts are checked.
macro_rules! compounds {
    ($($compound:ident: $($method:ident($($name:ty)?)),*;)*) => {
        $(impl ser::$compound for Check {
            type Ok = ();
            type Error = Lossy;

            $(fn $method<T: Serialize + ?Sized>(
                &mut self,
                $(_: $name,)?
                value: &T,
            ) -> Result<(), Lossy> {
                check(value)
            })*

            fn end(self) -> Result<(), Lossy> {
                Ok(())
            }
        })*
    };
}

compounds! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap: serialize_key(), serialize_value();
    SerializeStruct: serialize_field(&'static str);
    SerializeStructVariant: serialize_field(&'static str);
}

impl ser::Serializer for Check {
    type Ok = ();
    type Error = Lossy;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    scalars! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_char: char,
        serialize_str: &str,
        serialize_bytes: &[u8],
    }

    fn serialize_f32(self, value: f32) -> Result<(), Lossy> {
        self.float(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Lossy> {
        self.float(value)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Result<(), Lossy> {
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Lossy> {
        self.null()
    }

    fn serialize_unit(self) -> Result<(), Lossy> {
        self.null()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Lossy> {
        self.null()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Lossy> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Lossy> {
        value.serialize(Self { in_some: true })
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Lossy> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Lossy> {
        check(value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Lossy> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Lossy> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Lossy> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Lossy> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Lossy> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Lossy> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Lossy> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;
    use serde_json::{Value, json};

    use super::{Lossy, check};

    #[derive(Serialize)]
    enum Of<T> {
        Unit,
        One(T),
        Two(T, T),
        Named { it: T },
    }

    #[derive(Clone, Copy, Serialize)]
    struct Nothing;

    #[derive(Serialize)]
    struct Wrapped<T>(T);

    #[derive(Serialize)]
    struct Pair<T>(u8, T);

    #[derive(Serialize)]
    struct Named<T> {
        it: T,
    }

    /// The value in every place that serde knows.
    fn everywhere<T: Serialize + Copy>(value: T) -> Vec<Result<(), Lossy>> {
        vec![
            check(&value),
            check(&[value]),
            check(&vec![value]),
            check(&(1, value)),
            check(&BTreeMap::from([(1, value)])),
            check(&Some(value)),
            check(&Wrapped(value)),
            check(&Wrapped(Some(Wrapped(value)))),
            check(&Pair(1, value)),
            check(&Named { it: value }),
            check(&Of::One(value)),
            check(&Of::Two(value, value)),
            check(&Of::Named { it: value }),
        ]
    }

    #[test]
    fn a_float_that_is_not_finite_is_found_wherever_it_is() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(everywhere(value).iter().all(Result::is_err));
            assert!(everywhere(value as f32).iter().all(Result::is_err));
        }
        for value in [0.0, -0.0, f64::MAX, f64::MIN_POSITIVE, 5e-324] {
            assert!(everywhere(value).iter().all(Result::is_ok));
        }
        let error = check(&Named { it: f64::NAN }).unwrap_err();
        assert!(error.to_string().contains("NaN"), "{error}");
    }

    #[test]
    fn a_some_of_null_is_found_wherever_it_is() {
        assert!(everywhere(Some(None::<u8>)).iter().all(Result::is_err));
        assert!(everywhere(Some(())).iter().all(Result::is_err));
        assert!(everywhere(Some(Nothing)).iter().all(Result::is_err));
        assert!(check(&Some(Some(None::<u8>))).is_err());
        assert!(check(&Some(Wrapped(None::<u8>))).is_err());
        assert!(check(&Some(Value::Null)).is_err());
    }

    #[test]
    fn null_itself_has_a_form() {
        assert!(check(&None::<u8>).is_ok());
        assert!(check(&Some(Some(1))).is_ok());
        assert!(check(&Some([None::<u8>])).is_ok());
        assert!(check(&Some(Named { it: None::<u8> })).is_ok());
        assert!(check(&Some(Of::One(()))).is_ok());
        assert!(check(&Some(Of::<u8>::Unit)).is_ok());
        assert!(check(&json!({"a": [null, {"b": null}]})).is_ok());
    }
}
