//! The experiment file: schema, parsing with positions, validation, importers
