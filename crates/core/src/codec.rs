//! Bytes out, bytes in: how nodes, records and messages are written.
//!
//! The encoding is postcard's documented wire format. A node's payload goes into an [`Encoder`]
//! and is read back, in the same order, from a [`Decoder`].

use std::any::Any;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::operator::Operator;
use crate::rdd::node::{Header, Meta};
use crate::travel::{DescriptorName, Image};

/// Encodes one value.
///
/// # Errors
/// `Invalid` when the type's `Serialize` refuses (for example a map of unknown length).
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(|e| {
        Error::invalid("value cannot be encoded")
            .with("type", std::any::type_name::<T>())
            .caused_by(e)
    })
}

/// Decodes one value and refuses trailing bytes.
///
/// # Errors
/// `Data` when the bytes are not exactly one value of the type.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let (value, rest) =
        postcard::take_from_bytes(bytes).map_err(|e| damaged::<T>().caused_by(e))?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(damaged::<T>().with("trailing_bytes", rest.len()))
    }
}

fn damaged<T>() -> Error {
    Error::data("bytes are not a value of the type").with("type", std::any::type_name::<T>())
}

/// Collects the payload of one node.
#[derive(Debug)]
pub struct Encoder<'a> {
    bytes: Vec<u8>,
    operator: &'a Operator,
    image: &'a Image,
}

impl<'a> Encoder<'a> {
    /// An empty payload for a node of `operator`.
    #[must_use]
    pub fn new(operator: &'a Operator, image: &'a Image) -> Self {
        Self {
            bytes: Vec::new(),
            operator,
            image,
        }
    }

    /// The operator whose node is being written, for messages.
    #[must_use]
    pub fn operator(&self) -> &Operator {
        self.operator
    }

    /// The executable's image, which turns descriptors into names.
    #[must_use]
    pub fn image(&self) -> &Image {
        self.image
    }

    /// Appends one value.
    ///
    /// # Errors
    /// `Invalid` when the type's `Serialize` refuses.
    pub fn put<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(value, bytes).map_err(|e| {
            Error::invalid("value cannot be encoded")
                .with("type", std::any::type_name::<T>())
                .with("operator", self.operator)
                .caused_by(e)
        })?;
        Ok(())
    }

    /// The payload.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// A node rebuilt by its descriptor: an `Arc<dyn RddNode<T>>`, `Arc<dyn StageRoot>`, … in a box.
pub type Built = Box<dyn Any + Send + Sync>;

/// Reads the payload of one node, and hands out the parents built before it.
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    header: Header,
    parents: Vec<Arc<dyn Any + Send + Sync>>,
    image: &'a Image,
}

impl<'a> Decoder<'a> {
    /// A reader of `bytes` for a node with these parents.
    #[must_use]
    pub(crate) fn new(
        bytes: &'a [u8],
        header: Header,
        parents: Vec<Arc<dyn Any + Send + Sync>>,
        image: &'a Image,
    ) -> Self {
        Self {
            bytes,
            header,
            parents,
            image,
        }
    }

    /// Id, operator and storage level of the node being rebuilt.
    pub(crate) fn meta(&self) -> Meta {
        Meta::from(self.header.clone())
    }

    /// The operator of the node being rebuilt.
    #[must_use]
    pub fn operator(&self) -> &Operator {
        self.header.operator()
    }

    /// The executable's image, which turns names into descriptors.
    #[must_use]
    pub fn image(&self) -> &Image {
        self.image
    }

    /// The next value.
    ///
    /// # Errors
    /// `Data` when the bytes are not a value of the type.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<T> {
        let (value, rest) = postcard::take_from_bytes(self.bytes).map_err(|e| {
            damaged::<T>()
                .with("operator", self.operator())
                .caused_by(e)
        })?;
        self.bytes = rest;
        Ok(value)
    }

    /// A value (a partitioner, a receiver, …) that the node carries, rebuilt by its descriptor.
    pub(crate) fn build_value(&self, name: DescriptorName, bytes: &[u8]) -> Result<Built> {
        let descriptor = self.image.resolve(name)?;
        descriptor.build(&mut Decoder::new(
            bytes,
            self.header.clone(),
            Vec::new(),
            self.image,
        ))
    }

    /// How many parents the node has.
    #[must_use]
    pub fn num_parents(&self) -> usize {
        self.parents.len()
    }

    /// Parent number `index` as a `P` (for example `Arc<dyn RddNode<T>>`).
    ///
    /// # Errors
    /// `Data` when there is no such parent or it has another type.
    pub fn parent<P: Any + Clone>(&self, index: usize) -> Result<P> {
        self.parents
            .get(index)
            .and_then(|parent| parent.downcast_ref::<P>())
            .cloned()
            .ok_or_else(|| {
                Error::data("task lineage has no parent of the type")
                    .with("operator", self.operator())
                    .with("parent", index)
                    .with("type", std::any::type_name::<P>())
            })
    }
}
