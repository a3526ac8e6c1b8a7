//! Tools that only scenarios use: clients and flows with a checker of what arrived, and what a
//! deployment consists of besides the services.

pub mod audience;
pub mod balancer;
pub mod browser;
pub mod checker;
pub mod collector;
pub mod deployment;
pub mod flow;
pub mod node;
pub mod prometheus;
pub mod raw;
