//! Guests in the sandbox: real components, compiled by the real compiler.

mod compiling;
mod contract;
mod hostile;
mod hostile_modules;
mod secrets;
mod stateful;
mod worlds;
