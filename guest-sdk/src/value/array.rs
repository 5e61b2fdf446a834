//! A value that is a JSON array. serde's derived structs take one for their fields by position, so that another record
//! would be read as one of theirs: here it is none. The elements are serde's alone: to look at each value of a record
//! would cost every record.

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::de::SliceRead;

struct Array<'a, 'de>(&'a mut serde_json::Deserializer<SliceRead<'de>>);

pub(super) fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(Array(&mut deserializer))?;
    deserializer.end()?;
    Ok(value)
}

impl<'de> Deserializer<'de> for Array<'_, 'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, serde_json::Error> {
        Err(serde_json::Error::custom(format_args!("a JSON array, where the type {name} is a JSON object")))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, serde_json::Error> {
        // serde_json's own types read the text as it is.
        if name.starts_with("$serde_json::private::") {
            return self.0.deserialize_newtype_struct(name, visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
        self.0.deserialize_ignored_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map enum identifier
    }
}

#[cfg(test)]
mod tests {
    use crate::{FromValue, Json};
    use serde::Deserialize;
    use serde_json::value::RawValue;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Line {
        quantity: i64,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Pair(i64, i64);

    fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
        Json::<T>::from_value(Some(text.as_bytes())).map(|json| json.0).map_err(|error| error.to_string())
    }

    #[test]
    fn an_array_is_no_struct() {
        let refused = Err("a JSON array, where the type Line is a JSON object".to_owned());
        assert_eq!(read::<Line>("[5]"), refused);
        assert_eq!(read::<Line>(" [5]"), refused);
        assert_eq!(read::<Option<Line>>("[5]").map(|line| line.map(|line| line.quantity)).err(), refused.err());
        assert_eq!(read::<Line>(r#"{"quantity":5}"#), Ok(Line { quantity: 5 }));
        assert_eq!(read::<Vec<Line>>(r#"[{"quantity":5}]"#), Ok(vec![Line { quantity: 5 }]));
        // Within the value serde reads alone.
        assert_eq!(read::<Vec<Line>>("[[5]]"), Ok(vec![Line { quantity: 5 }]));
        assert_eq!(read::<Pair>("[1,2]"), Ok(Pair(1, 2)));
        assert_eq!(read::<(i64, Option<i64>)>("[1,null]"), Ok((1, None)));
        assert_eq!(read::<&RawValue>("[1, 2]").map(RawValue::get), Ok("[1, 2]"));
        assert_eq!(read::<serde_json::Value>("[1]"), Ok(serde_json::json!([1])));
        assert!(read::<Vec<i64>>("[1] 2").is_err() && read::<Pair>("[1,2,3]").is_err());
    }
}
