//! Hints from elsewhere.
