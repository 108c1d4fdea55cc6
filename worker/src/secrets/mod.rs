//! Secrets of a step: kept out of everything that the step prints.

pub(crate) mod mask;

pub(crate) use mask::Masker;
