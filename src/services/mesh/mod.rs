//! MESH, the message exchange (spec/mesh.md).
