//! Component types: they are read one declaration at a time, because the parser reads a nested type recursively and a
//! module of a few kilobytes could nest thousands.

use wasmparser::{BinaryReader, ComponentType, ComponentTypeDeclaration, CoreType};

use super::{Counts, Part, StructureError};

/// First bytes of the types that hold declarations.
const COMPONENT_TYPE: u8 = 0x41;
const INSTANCE_TYPE: u8 = 0x42;
/// First byte of a declaration that is a type.
const TYPE_DECLARATION: u8 = 0x01;

/// Counts the types of a section; `section` is its content.
pub(super) fn scan(section: &[u8], offset: usize, counts: &mut Counts) -> Result<(), StructureError> {
    let mut reader = BinaryReader::new(section, offset);
    let types = reader.read_var_u32()?;
    for _ in 0..types {
        scan_type(&mut reader, counts)?;
    }
    Ok(())
}

/// Counts the types that a core type holds.
pub(super) fn count_core(ty: &CoreType<'_>) -> u64 {
    match ty {
        CoreType::Rec(group) => group.types().len() as u64,
        CoreType::Module(declarations) => 1 + declarations.len() as u64,
    }
}

/// Reads one type with all that is nested in it. The stack holds how many declarations of each level are still to come.
fn scan_type(reader: &mut BinaryReader<'_>, counts: &mut Counts) -> Result<(), StructureError> {
    let mut open: Vec<u32> = Vec::new();
    let mut is_type = true;
    loop {
        counts.add(Part::Types, 1)?;
        let first = first_byte(reader)?;
        if is_type && matches!(first, COMPONENT_TYPE | INSTANCE_TYPE) {
            reader.read_u8()?;
            open.push(reader.read_var_u32()?);
            counts.largest(Part::TypeDepth, open.len() as u64)?;
        } else if is_type {
            reader.read::<ComponentType<'_>>()?;
        } else if let ComponentTypeDeclaration::CoreType(ty) = reader.read()? {
            counts.add(Part::Types, count_core(&ty))?;
        }
        // On to the next declaration of the innermost type that has one left.
        loop {
            match open.last_mut() {
                None => return Ok(()),
                Some(0) => drop(open.pop()),
                Some(left) => {
                    *left -= 1;
                    break;
                }
            }
        }
        is_type = first_byte(reader)? == TYPE_DECLARATION;
        if is_type {
            reader.read_u8()?;
        }
    }
}

fn first_byte(reader: &BinaryReader<'_>) -> Result<u8, StructureError> {
    Ok(reader.clone().read_u8()?)
}
