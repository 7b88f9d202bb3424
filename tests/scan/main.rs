//! The built-in scan against secrets of every format in every carrier, made up at run time from the rules themselves.

mod carriers;
mod command;
mod generate;
mod matrix;
mod near_misses;
mod own_values;
mod pre_commit;
mod user_rules;
