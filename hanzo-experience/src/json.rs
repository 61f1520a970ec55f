//! Strict JSON objects: every member once, no other member, integers only.
//!
//! Values go straight from the parser into typed fields, so nothing depends on the order of a map type or on
//! features of `serde_json` that another crate in the build may switch on.

use core::cell::RefCell;
use core::fmt;
use core::marker::PhantomData;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

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
    let object =
        Object::<S>::new(&sink).deserialize(&mut deserializer).and_then(|object| deserializer.end().map(|()| object));
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

/// Seed of an integer of 0..=2^53-1.
#[derive(Clone, Copy)]
pub(crate) struct Integer<'a> {
    pub(crate) member: &'static str,
    pub(crate) sink: &'a Sink,
}

impl Integer<'_> {
    fn refuse<T, E: serde::de::Error>(&self) -> Result<T, E> {
        Err(self.sink.fail(Error::NotAnInteger { member: self.member }))
    }
}

impl<'de> DeserializeSeed<'de> for Integer<'_> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_u64(self)
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

/// Seed of an integer of -1..=1.
pub(crate) struct Sign<'a> {
    pub(crate) member: &'static str,
    pub(crate) sink: &'a Sink,
}

impl<'de> DeserializeSeed<'de> for Sign<'_> {
    type Value = i8;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<i8, D::Error> {
        deserializer.deserialize_i64(self)
    }
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

/// Seed of a map from any text to values of one seed; a key given twice is an error.
pub(crate) struct Map<'a, S> {
    pub(crate) member: &'static str,
    pub(crate) sink: &'a Sink,
    pub(crate) value: S,
}

impl<'de, S: DeserializeSeed<'de> + Clone> DeserializeSeed<'de> for Map<'_, S> {
    type Value = BTreeMap<String, S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de> + Clone> Visitor<'de> for Map<'_, S> {
    type Value = BTreeMap<String, S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut read = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self.value.clone())?;
            match read.entry(key) {
                Entry::Vacant(place) => place.insert(value),
                Entry::Occupied(_) => return Err(self.sink.fail(Error::DuplicateMember { member: self.member })),
            };
        }
        Ok(read)
    }
}

/// Seed of a list of objects.
pub(crate) struct Objects<'a, S> {
    sink: &'a Sink,
    shape: PhantomData<S>,
}

impl<'a, S> Objects<'a, S> {
    pub(crate) fn new(sink: &'a Sink) -> Self {
        Self { sink, shape: PhantomData }
    }
}

impl<'de, S: Shape> DeserializeSeed<'de> for Objects<'_, S> {
    type Value = Vec<S>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<S>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, S: Shape> Visitor<'de> for Objects<'_, S> {
    type Value = Vec<S>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<S>, A::Error> {
        let mut objects = Vec::new();
        while let Some(object) = list.next_element_seed(Object::new(self.sink))? {
            objects.push(object);
        }
        Ok(objects)
    }
}

/// Seed of one object.
pub(crate) struct Object<'a, S> {
    sink: &'a Sink,
    shape: PhantomData<S>,
}

impl<S> Clone for Object<'_, S> {
    fn clone(&self) -> Self {
        Self::new(self.sink)
    }
}

impl<'a, S> Object<'a, S> {
    pub(crate) fn new(sink: &'a Sink) -> Self {
        Self { sink, shape: PhantomData }
    }
}

impl<'de, S: Shape> DeserializeSeed<'de> for Object<'_, S> {
    type Value = S;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S, D::Error> {
        deserializer.deserialize_map(self)
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
