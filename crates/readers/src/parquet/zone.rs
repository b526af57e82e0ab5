//! Tells every instant in UTC.
//!
//! A column of instants may name a time zone in which to show them. The instants are the same in any zone, and names would need
//! a database of zones to be understood.

use std::sync::Arc;

use arrow::array::{ArrayData, ArrayRef, make_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

const UTC: &str = "+00:00";

/// The same instants, shown in UTC.
pub(super) fn in_utc(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let fields: Vec<FieldRef> = batch.schema().fields().iter().map(field_in_utc).collect();
    let schema = Schema::new_with_metadata(fields, batch.schema().metadata().clone());
    if schema == *batch.schema() {
        return Ok(batch);
    }
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(Arc::clone(column))
        } else {
            retyped(column.to_data(), field.data_type()).map(|data| -> ArrayRef { make_array(data) })
        }
    });
    let columns = columns.collect::<Result<_, _>>()?;
    RecordBatch::try_new(Arc::new(schema), columns)
}

fn field_in_utc(field: &FieldRef) -> FieldRef {
    let ty = type_in_utc(field.data_type());
    if ty == *field.data_type() {
        Arc::clone(field)
    } else {
        Arc::new(Field::clone(field).with_data_type(ty))
    }
}

fn type_in_utc(ty: &DataType) -> DataType {
    match ty {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some(UTC.into())),
        DataType::List(field) => DataType::List(field_in_utc(field)),
        DataType::LargeList(field) => DataType::LargeList(field_in_utc(field)),
        DataType::FixedSizeList(field, len) => DataType::FixedSizeList(field_in_utc(field), *len),
        DataType::Map(field, is_sorted) => DataType::Map(field_in_utc(field), *is_sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field_in_utc).collect()),
        DataType::Dictionary(keys, values) => DataType::Dictionary(keys.clone(), Box::new(type_in_utc(values))),
        other => other.clone(),
    }
}

/// The same values, taken for another type of the same layout.
fn retyped(data: ArrayData, ty: &DataType) -> Result<ArrayData, ArrowError> {
    let below: Vec<&DataType> = match ty {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => vec![field.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Dictionary(_, values) => vec![values],
        _ => Vec::new(),
    };
    let children = data.child_data().iter().zip(below);
    let children = children.map(|(child, ty)| retyped(child.clone(), ty));
    let children = children.collect::<Result<_, _>>()?;
    data.into_builder().data_type(ty.clone()).child_data(children).build()
}
