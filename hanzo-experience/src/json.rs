//! Strict JSON objects: every member once, no other member, integers only.
//!
//! Values go straight from the parser into typed fields, so nothing depends on the order of a map type or on
//! features of `serde_json` that another crate in the build may switch on.

use core::cell::RefCell;
use core::fmt;
use core::marker::PhantomData;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::{Error, Result};

/// Largest integer that every JSON reader keeps exactly: 2^53 - 1.
pub(crate) const MAX_INTEGER: u64 = (1 << 53) - 1;

/// A JSON object with a fixed set of members.
pub(crate) trait Shape: Default {
    /// All members; each must be given exactly once. At most 32.
    const MEMBERS: &'static [&'static str];

    /// Reads the value of `member`.
    fn read_member<'de, A: MapAccess<'de>>(
        &mut self,
        member: &'static str,
        map: &mut A,
        sink: &Sink,
    ) -> Result<(), A::Error>;
}

/// Reads one object and nothing after it but white space.
pub(crate) fn read<S: Shape>(bytes: &[u8]) -> Result<S> {
    let sink = Sink::default();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let object = S::read(&mut deserializer, "", &sink).and_then(|object| deserializer.end().map(|()| object));
    object.map_err(|error| {
        sink.0.into_inner().unwrap_or(Error::MalformedJson { line: error.line(), column: error.column() })
    })
}

/// Where a typed error waits while the parser unwinds with its own.
#[derive(Default)]
pub(crate) struct Sink(RefCell<Option<Error>>);

impl Sink {
    fn fail<E: serde::de::Error>(&self, error: Error) -> E {
        let message = E::custom(&error);
        self.0.replace(Some(error));
        message
    }
}

/// Declares an object with its members, in the order in which they are written: `name: type`, or `field("name"): type`.
macro_rules! shape {
    ($(#[$meta:meta])* $vis:vis struct $shape:ident {
        $($(#[$about:meta])* $field_vis:vis $field:ident $(($name:literal))?: $type:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(Default)]
        $vis struct $shape {
            $($(#[$about])* $field_vis $field: $type,)*
        }

        impl $crate::json::Shape for $shape {
            const MEMBERS: &'static [&'static str] = &[$($crate::json::shape!(@name $field $($name)?)),*];

            fn read_member<'de, A: serde::de::MapAccess<'de>>(
                &mut self,
                member: &'static str,
                map: &mut A,
                sink: &$crate::json::Sink,
            ) -> Result<(), A::Error> {
                $(if member == $crate::json::shape!(@name $field $($name)?) {
                    self.$field = map.next_value_seed($crate::json::Seed::new(member, sink))?;
                    return Ok(());
                })*
                Ok(())
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
}
pub(crate) use shape;

/// What can be a member's value: texts, integers of 0..=2^53-1 (`u64`) and of -1..=1 (`i8`), truth values, objects, objects
/// or `null`, lists of texts and of objects, and maps from any text to one of these, each key once.
pub(crate) trait Value: Sized {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, member: &'static str, sink: &Sink) -> Result<Self, D::Error>;
}

/// Seed of a value.
pub(crate) struct Seed<'a, T> {
    member: &'static str,
    sink: &'a Sink,
    value: PhantomData<T>,
}

impl<'a, T> Seed<'a, T> {
    pub(crate) fn new(member: &'static str, sink: &'a Sink) -> Self {
        Self { member, sink, value: PhantomData }
    }
}

impl<'de, T: Value> DeserializeSeed<'de> for Seed<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::read(deserializer, self.member, self.sink)
    }
}

macro_rules! plain {
    ($($type:ty),*) => { $(
        impl Value for $type {
            fn read<'de, D: Deserializer<'de>>(deserializer: D, _: &'static str, _: &Sink) -> Result<Self, D::Error> {
                Self::deserialize(deserializer)
            }
        }
    )* };
}
plain! { String, bool, Vec<String> }

impl Value for u64 {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, member: &'static str, sink: &Sink) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(Integer { member, sink })
    }
}

impl Value for i8 {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, member: &'static str, sink: &Sink) -> Result<Self, D::Error> {
        deserializer.deserialize_i64(Sign { member, sink })
    }
}

impl<S: Shape> Value for S {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, _: &'static str, sink: &Sink) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object::new(sink))
    }
}

impl<S: Shape> Value for Option<S> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, _: &'static str, sink: &Sink) -> Result<Self, D::Error> {
        deserializer.deserialize_option(Object::new(sink).or_null())
    }
}

impl<S: Shape> Value for Vec<S> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, member: &'static str, sink: &Sink) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List(Seed::new(member, sink)))
    }
}

impl<T: Value> Value for BTreeMap<String, T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, member: &'static str, sink: &Sink) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Map(Seed::new(member, sink)))
    }
}

struct Integer<'a> {
    member: &'static str,
    sink: &'a Sink,
}

impl Integer<'_> {
    fn refuse<T, E: serde::de::Error>(&self) -> Result<T, E> {
        Err(self.sink.fail(Error::NotAnInteger { member: self.member }))
    }
}

impl Visitor<'_> for Integer<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer of 0..=2^53-1")
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<u64, E> {
        if value <= MAX_INTEGER { Ok(value) } else { self.refuse() }
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<u64, E> {
        self.refuse()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<u64, E> {
        self.refuse()
    }
}

struct Sign<'a> {
    member: &'static str,
    sink: &'a Sink,
}

impl Visitor<'_> for Sign<'_> {
    type Value = i8;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("-1, 0 or 1")
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<i8, E> {
        if value <= 1 { Ok(value as i8) } else { Err(self.sink.fail(Error::OutOfRange { field: self.member })) }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<i8, E> {
        if value == -1 { Ok(-1) } else { Err(self.sink.fail(Error::OutOfRange { field: self.member })) }
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<i8, E> {
        Err(self.sink.fail(Error::NotAnInteger { member: self.member }))
    }
}

struct Map<'a, T>(Seed<'a, T>);

impl<'de, T: Value> Visitor<'de> for Map<'_, T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Seed { member, sink, .. } = self.0;
        let mut read = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Seed::new(member, sink))?;
            match read.entry(key) {
                Entry::Vacant(place) => place.insert(value),
                Entry::Occupied(_) => return Err(sink.fail(Error::DuplicateMember { member })),
            };
        }
        Ok(read)
    }
}

struct List<'a, T>(Seed<'a, T>);

impl<'de, T: Value> Visitor<'de> for List<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let Seed { member, sink, .. } = self.0;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Seed::new(member, sink))? {
            values.push(value);
        }
        Ok(values)
    }
}

struct Object<'a, S> {
    sink: &'a Sink,
    shape: PhantomData<S>,
}

impl<'a, S> Object<'a, S> {
    fn new(sink: &'a Sink) -> Self {
        Self { sink, shape: PhantomData }
    }

    fn or_null(self) -> Nullable<'a, S> {
        Nullable(self)
    }
}

impl<'de, S: Shape> Visitor<'de> for Object<'_, S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<S, A::Error> {
        let mut object = S::default();
        let mut seen = 0_u32;
        while let Some(index) = map.next_key_seed(Member::<S>(self.sink, PhantomData))? {
            let Some(&member) = S::MEMBERS.get(index) else {
                return Err(A::Error::custom("unknown member"));
            };
            let bit = 1 << index;
            if seen & bit != 0 {
                return Err(self.sink.fail(Error::DuplicateMember { member }));
            }
            seen |= bit;
            object.read_member(member, &mut map, self.sink)?;
        }
        for (index, &member) in S::MEMBERS.iter().enumerate() {
            if seen & (1 << index) == 0 {
                return Err(self.sink.fail(Error::MissingMember { member }));
            }
        }
        Ok(object)
    }
}

struct Nullable<'a, S>(Object<'a, S>);

impl<'de, S: Shape> Visitor<'de> for Nullable<'_, S> {
    type Value = Option<S>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Option<S>, E> {
        Ok(None)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Option<S>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<S>, D::Error> {
        deserializer.deserialize_map(self.0).map(Some)
    }
}

/// Seed of a member name: its index in `MEMBERS`.
struct Member<'a, S>(&'a Sink, PhantomData<S>);

impl<'de, S: Shape> DeserializeSeed<'de> for Member<'_, S> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<S: Shape> Visitor<'_> for Member<'_, S> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<usize, E> {
        let index = S::MEMBERS.iter().position(|member| *member == name);
        index.ok_or_else(|| self.0.fail(Error::UnknownMember { member: name.to_owned() }))
    }
}

/// Appends `value` as compact JSON.
pub(crate) fn write<T: serde::Serialize>(out: &mut Vec<u8>, value: &T) {
    // Writing strings and integers into a vector has no way to fail; a debug build would tell.
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok());
}
