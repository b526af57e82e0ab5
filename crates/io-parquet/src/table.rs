//! A table: a schema and batches of rows in Arrow's memory format.
//!
//! A value like any other for assets. Cloning shares the columns. Rows are typed by serde on the way in and out; what
//! lies between is Arrow's, and `arrow` is re-exported for working on it.

mod ipc;

use std::fmt;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::compute::{concat, concat_batches};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use flowstone_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::blocks::blocks_of;
use crate::error::{mismatch, unfit};
use crate::rows;
use crate::shape::RowType;

/// Rows in columns, of one schema, in any number of Arrow batches.
///
/// Two tables are equal when their schemas and rows are, however they are cut into batches. Floating-point values are
/// compared by their bits, so a NaN equals itself.
#[derive(Clone)]
pub struct Table {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Table {
    /// The table of `batches`, which all have the columns of `schema`.
    ///
    /// # Errors
    /// `TypeMismatch` when a batch has other columns.
    pub fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self> {
        let fitted = batches.into_iter().map(|batch| {
            if batch.schema_ref() == &schema {
                return Ok(batch);
            }
            if batch.schema_ref().fields() == schema.fields() {
                return batch
                    .with_schema(SchemaRef::clone(&schema))
                    .map_err(|error| unfit(error.to_string()));
            }
            let (found, expected) = (batch.schema_ref().fields().len(), schema.fields().len());
            Err(unfit(format!(
                "a batch of {found} columns does not have the table's {expected} columns"
            )))
        });
        Ok(Self {
            batches: fitted.collect::<Result<_>>()?,
            schema,
        })
    }

    /// A table of `schema` without rows.
    pub fn empty(schema: SchemaRef) -> Self {
        Self {
            schema,
            batches: Vec::new(),
        }
    }

    /// The table with a column for each field of `T` and a row for each of `rows`.
    ///
    /// The columns follow from the type alone, so no rows give the same columns as many. See
    /// [`Parquet`](crate::Parquet) for which types fit.
    ///
    /// # Errors
    /// `TypeMismatch` when `T` is not a struct of plain columns, `Invalid` when a value does not fit its column.
    pub fn from_rows<T: Serialize + DeserializeOwned + 'static>(rows: &[T]) -> Result<Self> {
        let row_type = RowType::of::<Vec<T>>()?;
        let batches = rows::write(&rows, &row_type.schema, 0)?;
        Ok(Self {
            schema: row_type.schema,
            batches,
        })
    }

    /// The rows as structs. Columns that `T` does not have are left out.
    ///
    /// # Errors
    /// `TypeMismatch` with the column when `T` has one that is not here or is of another type.
    pub fn to_rows<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        rows::read(&self.batches, |deserializer| erased_serde::deserialize(deserializer))
    }

    /// The number of rows.
    pub fn num_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.num_rows() == 0
    }

    /// The columns' names and types.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows in batches, as they were given or read.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// The rows in batches, by value.
    pub fn into_batches(self) -> Vec<RecordBatch> {
        self.batches
    }

    /// The whole column `name` as one Arrow array.
    ///
    /// # Errors
    /// `NotFound` with the names that there are.
    pub fn column(&self, name: &str) -> Result<ArrayRef> {
        let at = self.index_of(name)?;
        let parts: Vec<_> = self.batches.iter().map(|batch| batch.column(at).as_ref()).collect();
        match parts.as_slice() {
            [] => Ok(new_empty_array(self.schema.field(at).data_type())),
            [_] => Ok(ArrayRef::clone(self.batches[0].column(at))),
            _ => concat(&parts).map_err(|error| unfit(error.to_string())),
        }
    }

    /// The values of the column `name`; as `Option<T>` when it has nulls.
    ///
    /// # Errors
    /// `NotFound` with the names that there are, `TypeMismatch` when the values are no `T`.
    pub fn values<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>> {
        #[derive(Deserialize)]
        struct Row<T> {
            value: T,
        }
        let at = self.index_of(name)?;
        let field = self.schema.field(at);
        let schema = SchemaRef::new(Schema::new(vec![Field::clone(field).with_name("value")]));
        let renamed = self
            .batches
            .iter()
            .map(|batch| RecordBatch::try_new(SchemaRef::clone(&schema), vec![ArrayRef::clone(batch.column(at))]));
        let batches = renamed
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| mismatch(error.to_string()))?;
        let rows: Vec<Row<T>> = rows::read(&batches, |deserializer| erased_serde::deserialize(deserializer))
            .map_err(|error| error.about(format_args!("column {name:?}")))?;
        Ok(rows.into_iter().map(|row| row.value).collect())
    }

    fn index_of(&self, name: &str) -> Result<usize> {
        self.schema.index_of(name).map_err(|_| {
            let names: Vec<_> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
            Error::new(ErrorKind::NotFound, format!("the table has no column {name:?}"))
                .code("table_column")
                .fix(format!("its columns are {}", names.join(", ")))
        })
    }

    /// The same rows in one batch.
    fn in_one_batch(&self) -> Result<RecordBatch> {
        concat_batches(&self.schema, &self.batches).map_err(|error| unfit(error.to_string()))
    }
}

impl From<RecordBatch> for Table {
    fn from(batch: RecordBatch) -> Self {
        Self {
            schema: batch.schema(),
            batches: vec![batch],
        }
    }
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.num_rows() == other.num_rows()
            && blocks_of(SchemaRef::clone(&self.schema), &self.batches)
                .zip(blocks_of(SchemaRef::clone(&other.schema), &other.batches))
                .all(|blocks| matches!(blocks, (Ok(ours), Ok(theirs)) if ours == theirs))
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.schema.fields().iter().map(|field| field.name()).collect();
        write!(f, "Table({} rows; {names:?})", self.num_rows())
    }
}
