//! The audit chain (P4): records hashed one onto the next, signed at intervals, verified and searched.
