//! Keeps a whole table or a whole sequence of rows as one Parquet file.

use std::sync::Arc;

use async_trait::async_trait;
use flowstone_core::io::{Address, IoManager, Listing, RowParts, Rows, Slot, Stored, in_one_part};
use flowstone_core::{AssetId, Result, TypeInfo, Value};
use flowstone_io_object::{ObjectArea, ObjectPath};
use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::error::{mismatch, stopped};
use crate::shape::RowType;
use crate::{Parquet, Table, TableReader, TableWriter, rows};

pub(crate) struct ParquetManager {
    area: ObjectArea,
    options: Parquet,
}

impl ParquetManager {
    pub(crate) fn new(area: ObjectArea, options: Parquet) -> Self {
        Self { area, options }
    }
}

#[async_trait]
impl IoManager for ParquetManager {
    fn accepts(&self, ty: TypeInfo) -> Result<()> {
        check(ty)
    }

    async fn store(&self, slot: Slot, value: &Value) -> Result<Stored> {
        let table = match value.downcast_ref::<Table>() {
            Some(table) => table.clone(),
            None => {
                let value = value.clone();
                tokio::task::spawn_blocking(move || to_table(&value, 0))
                    .await
                    .map_err(stopped)??
            }
        };
        let mut writer = TableWriter::begin(&self.area, slot, table.schema(), &self.options).await?;
        for batch in table.into_batches() {
            writer.write(batch).await?;
        }
        writer.finish().await
    }

    async fn store_rows(&self, slot: Slot, mut rows: Rows) -> Result<Stored> {
        let columns = RowType::of_type(rows.ty())?.schema;
        let mut writer = TableWriter::begin(&self.area, slot, &columns, &self.options).await?;
        let mut first = 0;
        while let Some(part) = rows.next().await? {
            let table = tokio::task::spawn_blocking(move || to_table(&part, first)).await;
            let table = table.map_err(stopped)??;
            first += table.num_rows() as u64;
            for batch in table.into_batches() {
                writer.write(batch).await?;
            }
        }
        writer.finish().await
    }

    async fn load(&self, stored: &Stored, ty: TypeInfo) -> Result<Value> {
        let reader = TableReader::open(&self.area, stored).await?;
        if !ty.is::<Table>() {
            check_columns(&reader, ty)?;
        }
        let table = reader.read_all().await?;
        if ty.is::<Table>() {
            return Ok(Value::new(table));
        }
        let subject = reader.subject().to_owned();
        let read = move || rows::read(table.batches(), |deserializer| ty.read(deserializer));
        let read = tokio::task::spawn_blocking(read).await.map_err(stopped)?;
        read.map_err(|error| error.about(subject))
    }

    async fn load_rows(&self, stored: &Stored, ty: TypeInfo) -> Result<RowParts> {
        if ty.is::<Table>() {
            return self.load(stored, ty).await.map(in_one_part);
        }
        let reader = TableReader::open(&self.area, stored).await?;
        check_columns(&reader, ty)?;
        let subject: Arc<str> = reader.subject().into();
        let groups = reader.into_stream();
        let parts = groups.map_ok(move |group| parts_of(group, ty, Arc::clone(&subject)));
        Ok(parts.try_flatten().boxed())
    }

    async fn delete(&self, address: &Address) -> Result<()> {
        match address {
            Address::Inline(_) => Ok(()),
            Address::Location(_) => self.area.delete(&ObjectPath::of_address(address)?).await,
        }
    }

    fn lists(&self) -> bool {
        true
    }

    fn list(&self, asset: AssetId) -> Result<Listing<'_>> {
        Ok(self.area.list_values(asset))
    }
}

/// The rows of a row group, block by block.
fn parts_of(group: Table, ty: TypeInfo, subject: Arc<str>) -> impl Stream<Item = Result<Value>> {
    stream::iter(group.into_batches()).then(move |block| {
        let subject = Arc::clone(&subject);
        async move {
            let read = move || rows::read(&[block], |deserializer| ty.read(deserializer));
            let read = tokio::task::spawn_blocking(read).await.map_err(stopped)?;
            read.map_err(|error| error.about(subject))
        }
    })
}

/// The answer to whether values of `ty` can be stored.
pub(crate) fn check(ty: TypeInfo) -> Result<()> {
    if ty.is::<Table>() {
        Ok(())
    } else {
        RowType::of_type(ty).map(drop)
    }
}

fn to_table(value: &Value, first: u64) -> Result<Table> {
    let row_type = RowType::of_type(value.ty())?;
    let batches = rows::write(value.as_serialize(), &row_type.schema, first)?;
    Table::new(Arc::clone(&row_type.schema), batches)
}

/// Compares the file's columns with those of the type, by name, since serde would quietly leave a column out or fill
/// one in that was not stored.
fn check_columns(reader: &TableReader, ty: TypeInfo) -> Result<()> {
    let (stored, wanted) = (reader.schema(), RowType::of_type(ty)?.schema);
    let refused = |message: String| Err(mismatch(message).about(reader.subject()));
    for field in wanted.fields() {
        let name = field.name();
        let Some((_, found)) = stored.column_with_name(name) else {
            return refused(format!("the file has no column {name:?}, which `{}` has", ty.name()));
        };
        if found.data_type() != field.data_type() {
            let (found, wanted) = (found.data_type(), field.data_type());
            return refused(format!(
                "column {name:?} is {found} in the file and {wanted} in `{}`",
                ty.name()
            ));
        }
    }
    match stored
        .fields()
        .iter()
        .find(|field| wanted.column_with_name(field.name()).is_none())
    {
        Some(extra) => refused(format!(
            "the file has a column {:?}, which `{}` has not",
            extra.name(),
            ty.name()
        )),
        None => Ok(()),
    }
}
