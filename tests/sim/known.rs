//! Seeds that once broke a promise, each with its story.
