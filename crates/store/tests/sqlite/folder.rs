//! What is wrong with a state folder, and what is said about it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{self, Command};

use flowstone_core::run::RunState;
use flowstone_core::store::{Record, RunFilter, Store};
use flowstone_core::{Error, ErrorKind};
use flowstone_store::{LEDGER_FILE, LOCK_FILE, SqliteStore};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::samples::*;

async fn refused(dir: &Path) -> Error {
    SqliteStore::open(dir).await.unwrap_err()
}

/// Runs SQL on the ledger behind the store's back.
async fn meddle(dir: &Path, sql: &str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(dir.join(LEDGER_FILE))
        .create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_second_store_of_this_process_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let _owner = SqliteStore::open(state.path()).await.unwrap();

    let error = refused(state.path()).await;

    assert_eq!((error.kind(), error.stable_code()), (ErrorKind::Locked, "state_locked"));
    assert!(error.to_string().contains(&process::id().to_string()), "{error}");
    assert!(error.advice().is_some());
}

#[tokio::test]
async fn another_process_is_named_by_its_id() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join(LOCK_FILE);
    let mut lock = File::create(&path).unwrap();
    lock.write_all(b"4194305\n").unwrap();
    lock.lock().unwrap();

    let error = refused(state.path()).await;

    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains("process 4194305"), "{error}");
    assert!(error.advice().unwrap().contains("4194305"));
    lock.unlock().unwrap();
    SqliteStore::open(state.path()).await.unwrap();
}

#[tokio::test]
async fn a_store_that_was_dropped_can_be_opened_at_once() {
    let state = tempfile::tempdir().unwrap();
    for no in 1..6 {
        let store = SqliteStore::open(state.path()).await.unwrap();
        take(&store, &[created(run_id(no))]).await;
        drop(store);
    }

    let store = SqliteStore::open(state.path()).await.unwrap();

    assert_eq!(store.runs(RunFilter::All, 100).await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_reader_sees_what_the_owner_commits_and_cannot_write() {
    let state = tempfile::tempdir().unwrap();
    let owner = SqliteStore::open(state.path()).await.unwrap();
    let reader = SqliteStore::open_read_only(state.path()).await.unwrap();

    take(&owner, &[created(RUN), moved(RUN, RunState::Running)]).await;
    let seen = reader.run(RUN).await.unwrap().unwrap();
    let refused = reader.commit(&[created(run_id(2))]).await.unwrap_err();
    let undeclared = reader.declare_assets(&[]).await.unwrap_err();

    assert_eq!(seen.state, RunState::Running);
    assert_eq!(
        (refused.kind(), undeclared.kind()),
        (ErrorKind::Unsupported, ErrorKind::Unsupported)
    );
    drop(owner);
    reader.close().await.unwrap();
}

#[tokio::test]
async fn a_reader_reads_what_an_owner_left() {
    let state = tempfile::tempdir().unwrap();
    let owner = SqliteStore::open(state.path()).await.unwrap();
    take(&owner, &[created(RUN)]).await;
    owner.close().await.unwrap();

    let reader = SqliteStore::open_read_only(state.path()).await.unwrap();

    assert!(reader.run(RUN).await.unwrap().is_some());
}

#[tokio::test]
async fn a_reader_needs_a_ledger() {
    let state = tempfile::tempdir().unwrap();

    let error = SqliteStore::open_read_only(&state.path().join("none"))
        .await
        .unwrap_err();

    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!state.path().join("none").exists());
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_both_versions_are_named() {
    let state = tempfile::tempdir().unwrap();
    SqliteStore::open(state.path()).await.unwrap().close().await.unwrap();
    meddle(state.path(), "PRAGMA user_version = 42").await;

    let owner = refused(state.path()).await;
    let reader = SqliteStore::open_read_only(state.path()).await.unwrap_err();

    for error in [owner, reader] {
        assert_eq!(
            (error.kind(), error.stable_code()),
            (ErrorKind::Unsupported, "schema_newer")
        );
        assert!(
            error.to_string().contains("42") && error.to_string().contains("up to 1"),
            "{error}"
        );
        assert!(error.advice().is_some());
    }
}

#[tokio::test]
async fn the_database_of_another_program_is_refused_and_left_as_it_is() {
    let state = tempfile::tempdir().unwrap();
    meddle(state.path(), "CREATE TABLE theirs (a); PRAGMA user_version = 1").await;

    let error = refused(state.path()).await;

    assert_eq!(
        (error.kind(), error.stable_code()),
        (ErrorKind::Corrupt, "ledger_foreign")
    );
    meddle(state.path(), "INSERT INTO theirs VALUES (1)").await;
}

#[tokio::test]
async fn a_file_that_is_no_ledger_is_corrupt() {
    let state = tempfile::tempdir().unwrap();
    fs::write(
        state.path().join(LEDGER_FILE),
        "this is not a database, whatever its name says".repeat(100),
    )
    .unwrap();

    let error = refused(state.path()).await;

    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.advice().unwrap().contains("backup"));
}

#[tokio::test]
async fn damage_in_the_middle_is_corrupt_when_it_is_met() {
    let state = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(state.path()).await.unwrap();
    let assets = declare(&store, 1).await;
    take(&store, &[created(RUN), claim(assets[0], 0, 1, set(0..5_000))]).await;
    take(
        &store,
        &[Record::ChunkProgress(making(assets[0], (0, 1), &set(0..5_000), 1))],
    )
    .await;
    store.close().await.unwrap();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(state.path().join(LEDGER_FILE))
        .unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let middle = bytes.len() / 4096 / 2 * 4096;
    file.seek(SeekFrom::Start(middle as u64)).unwrap();
    file.write_all(&vec![0xa5; bytes.len() - middle]).unwrap();

    let store = SqliteStore::open(state.path()).await.unwrap();
    let error = store.heads(assets[0], &set(0..5_000)).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

#[tokio::test]
async fn a_file_where_the_folder_should_be_is_invalid() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("file");
    fs::write(&file, "").unwrap();

    let at_the_end = refused(&file).await;
    let on_the_way = refused(&file.join("state")).await;

    assert_eq!(
        (at_the_end.kind(), on_the_way.kind()),
        (ErrorKind::Invalid, ErrorKind::Invalid)
    );
    assert!(at_the_end.to_string().contains("file"), "{at_the_end}");
}

#[tokio::test]
async fn a_folder_may_have_any_name() {
    let state = tempfile::tempdir().unwrap();
    for name in ["a b", "ü?mode=memory#x", "50%20", "'quoted'", ":memory:"] {
        let dir = state.path().join(name);
        let store = SqliteStore::open(&dir).await.unwrap();
        take(&store, &[created(RUN)]).await;

        let reader = SqliteStore::open_read_only(&dir).await.unwrap();

        assert!(reader.run(RUN).await.unwrap().is_some(), "{name}");
        assert!(dir.join(LEDGER_FILE).exists(), "{name}");
    }
}

/// Set for a child of this test program that shall open the folder it names.
#[cfg(unix)]
const OPEN_FOLDER: &str = "FLOWSTONE_TEST_OPEN_FOLDER";

/// The super user may write everywhere, so a child without its rights does the opening.
#[cfg(unix)]
#[test]
fn a_read_only_folder_is_refused_with_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    const NOBODY: u32 = 65_534;
    let state = tempfile::tempdir().unwrap();
    let program = state.path().join("tests");
    // By another process: one that is being started meanwhile would have a copy of a file that is written here, and what is
    // being written cannot be started.
    let copied = Command::new("cp")
        .arg(std::env::current_exe().unwrap())
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let dir = state.path().join("state");
    fs::create_dir(&dir).unwrap();
    for path in [state.path(), &program, &dir] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let may_write_anyway = File::create(dir.join("probe")).is_ok();

    let mut child = Command::new(&program);
    child
        .args(["--exact", "folder::the_folder_is_opened_by_a_child", "--nocapture"])
        .env(OPEN_FOLDER, &dir);
    if may_write_anyway {
        child.uid(NOBODY).gid(NOBODY);
    }
    let told = child.output().unwrap();

    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("kind: PermissionDenied"), "{told}");
    assert!(told.contains("writable"), "{told}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_folder_is_opened_by_a_child() {
    let Some(dir) = std::env::var_os(OPEN_FOLDER) else {
        return;
    };
    let error = refused(Path::new(&dir)).await;
    println!("kind: {:?}\n{error:?}", error.kind());
}
