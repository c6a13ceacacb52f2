//! What `deploy/` and the image are made of, held to the program: manifests are built as a cluster
//! gets them, and their pods are started here.
//!
//! No cluster is asked, so that one takes them is not proved here.

mod envoy;
mod image;
mod manifests;
mod pod;
mod pods;
mod rendered;
