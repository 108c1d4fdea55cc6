//! Pages over a filled store.
