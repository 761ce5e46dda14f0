//! Gathers what SQLite writes to a WAL, and from there to its database, so that many pages are one write to the file.
//!
//! SQLite writes a page to its WAL in two parts, each by a system call of its own, and copies pages one by one into the
//! database: a fifth of what a node did under load were these. This VFS passes everything to SQLite's own, but keeps what is
//! written to a WAL, or to a database by a copy, one behind the other, until something else than the next write is asked of
//! the file: above all the fsync that ends a transaction, and the word that ends a copy (`SQLITE_FCNTL_CKPT_DONE`). Whatever
//! was kept is in the file before that is done. If it cannot be written, the failure is that operation's, and that of all that
//! follow: SQLite may go on after a failed write only where it knows which one it was.
//!
//! A copy that does not reach the WAL's end (another connection wrote meanwhile, or a reader is in the way) is not
//! fsynced, and SQLite ignores what the word at its end is answered: it would take for copied what is not, let others read it
//! from the database, and one day start the WAL over. So a failure is that of everybody in the process who has the
//! database open, whatever they ask: nothing is read from it, written to it or locked in its WAL until all have closed it.
//! Everything is still in the WAL then, for who opens it next. Only a transaction that is being committed still ends well.
//!
//! What must hold: each transaction is fsynced, to its last byte, before others may read it from the file. `database` asks
//! for that on every connection (`synchronous = FULL`); the disk leaves bytes beside those that are written as they are, as
//! SQLite assumes unless it is told otherwise (`psow`). One connection writes to a WAL, and one process has a database open.
//! Files of other kinds are not touched.

#![expect(unsafe_code, reason = "a VFS is a table of C functions")]

use rusqlite::ffi;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering, fence};
use std::sync::{Arc, Mutex, Once, Weak};

const NAME: &CStr = c"jobraft";
/// What is kept, at most: more brought nothing, and SQLite's VFS for Unix takes less than 128 KiB at once.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// The VFS that this one passes everything to.
static BELOW: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(ptr::null_mut());

/// Of each database that is open, by its path, what became of what was kept for it.
static DATABASES: Mutex<BTreeMap<CString, Weak<Fate>>> = Mutex::new(BTreeMap::new());

/// Why something that was kept could not be written, for good: SQLite's number.
#[derive(Default)]
struct Fate(AtomicI32);

/// A file as SQLite sees it: this, and behind it the file of the VFS below.
#[repr(C)]
struct Gathered {
    base: ffi::sqlite3_file,
    /// Whether what is written is kept: to a WAL always, to a database during a copy.
    keeps: bool,
    /// Where in the file `kept` belongs.
    at: ffi::sqlite3_int64,
    kept: Vec<u8>,
    /// A WAL's own, for one connection writes to it; a database's is that of all who have it open.
    fate: Arc<Fate>,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // The second: with shared memory, without mapped files, whose writes nobody would see.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Where the VFS below has no shared memory: SQLite knows then that there can be no WAL.
static METHODS_OF_FILES_ALONE: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods { iVersion: 1, ..METHODS };

/// The name of this VFS, which lies above the one that was the default when this was first asked for.
pub(super) fn vfs() -> &'static CStr {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: null asks for the default; SQLite answers a table that lives as long as the process.
        let below = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        assert!(!below.is_null(), "SQLite is built with a VFS");
        BELOW.store(below, Ordering::Release);
        // SAFETY: not null, and written only by those who register another one meanwhile: nobody does. Its functions ask the
        // table that they are called with for `pAppData`, which the copy has too.
        let mut own = unsafe { *below };
        own.szOsFile += c_int::try_from(size_of::<Gathered>()).expect("a few words");
        own.zName = NAME.as_ptr();
        own.pNext = ptr::null_mut();
        own.xOpen = Some(open);
        // SAFETY: leaked, and so alive for as long as SQLite may use it.
        let result = unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(own)), 0) };
        assert_eq!(result, ffi::SQLITE_OK, "SQLite takes a VFS");
    });
    NAME
}

/// The file of the VFS below.
fn below(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    file.cast::<Gathered>().wrapping_add(1).cast()
}

/// Passes a call to the same method of the file below.
macro_rules! pass {
    ($method:ident, $file:expr $(, $argument:expr)*) => {
        // SAFETY: SQLite's own call, with SQLite's own arguments, on the file below, which is open: its methods are a table
        // that lives for ever, and has all of the first version; those of the second are asked of databases alone.
        unsafe {
            let file = below($file);
            (*(*file).pMethods).$method.expect("every VFS has this method")(file $(, $argument)*)
        }
    };
}

/// The same once all that was kept is in the file.
macro_rules! pass_behind {
    ($method:ident, $file:expr $(, $argument:expr)*) => {
        // SAFETY: SQLite calls this with a file that it has open.
        match unsafe { write_kept($file) } {
            ffi::SQLITE_OK => pass!($method, $file $(, $argument)*),
            failed => failed,
        }
    };
}

/// Writes what was kept, unless that failed before.
///
/// # Safety
/// `file` is a [`Gathered`] that is open, and nobody else uses it meanwhile.
unsafe fn write_kept(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: the caller's promise.
    let gathered = unsafe { &mut *file.cast::<Gathered>() };
    if gathered.kept.is_empty() {
        return gathered.fate.0.load(Ordering::Acquire);
    }
    let bytes = c_int::try_from(gathered.kept.len()).expect("no more than KEPT_BYTES_MAX");
    let written = match gathered.fate.0.load(Ordering::Acquire) {
        ffi::SQLITE_OK => pass!(xWrite, file, gathered.kept.as_ptr().cast(), bytes, gathered.at),
        failed => failed,
    };
    gathered.kept.clear();
    if written != ffi::SQLITE_OK {
        gathered.fate.0.store(written, Ordering::Release);
        // Before SQLite lets others know how far it has copied: it asks for no order.
        fence(Ordering::SeqCst);
    }
    written
}

/// The fate of the database of that name, which is shared by all who have it open.
fn fate_of(name: &CStr) -> Arc<Fate> {
    let mut databases = super::database::lock(&DATABASES);
    if let Some(fate) = databases.get(name).and_then(Weak::upgrade) {
        return fate;
    }
    databases.retain(|_, fate| fate.strong_count() > 0);
    let fate = Arc::default();
    databases.insert(name.to_owned(), Arc::downgrade(&fate));
    fate
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let vfs = BELOW.load(Ordering::Acquire);
    let open = |file| {
        // SAFETY: SQLite's own call, with a table that is the VFS's own, and at least as many bytes for the file as it needs.
        unsafe { (*vfs).xOpen.expect("every VFS opens")(vfs, name, file, flags, out_flags) }
    };
    let is_wal = flags & ffi::SQLITE_OPEN_WAL != 0;
    let fate = match flags & ffi::SQLITE_OPEN_MAIN_DB {
        _ if is_wal => Arc::default(),
        0 => return open(file),
        // SAFETY: SQLite gives a database a name, which ends in NUL, or makes it a temporary one, which is another kind.
        _ => fate_of(unsafe { CStr::from_ptr(name) }),
    };
    let opened = open(below(file));
    if opened != ffi::SQLITE_OK {
        // SAFETY: SQLite's bytes; without methods it does not close what could not be opened.
        unsafe { (*file).pMethods = ptr::null() };
        return opened;
    }
    // SAFETY: it is open, and its methods are a table that lives for ever.
    let has_shared_memory = unsafe { (*(*below(file)).pMethods).iVersion } >= METHODS.iVersion;
    let methods = if has_shared_memory { &raw const METHODS } else { &raw const METHODS_OF_FILES_ALONE };
    let base = ffi::sqlite3_file { pMethods: methods };
    let gathered = Gathered { base, keeps: is_wal, at: 0, kept: Vec::new(), fate };
    // SAFETY: SQLite gives `szOsFile` bytes, aligned for any of its structures, of which the first are a `Gathered`'s.
    unsafe { ptr::write(file.cast(), gathered) };
    ffi::SQLITE_OK
}

/// What is still kept belongs to a transaction that was rolled back: a commit would have ended with an fsync, and a copy with
/// its word.
unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let closed = pass!(xClose, file);
    // SAFETY: SQLite closes a file once, and uses it no more.
    unsafe { ptr::drop_in_place(file.cast::<Gathered>()) };
    closed
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    bytes: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    let length = usize::try_from(bytes).expect("SQLite writes no fewer bytes than none");
    // SAFETY: SQLite calls this with a file that it has open; the reference ends before anything else uses it.
    let (keeps, goes_behind) = unsafe {
        let gathered = &*file.cast::<Gathered>();
        let end = gathered.at.saturating_add_unsigned(gathered.kept.len() as u64);
        let has_room = gathered.kept.len() + length <= KEPT_BYTES_MAX;
        (gathered.keeps && length <= KEPT_BYTES_MAX, !gathered.kept.is_empty() && end == at && has_room)
    };
    if !goes_behind {
        // SAFETY: as above.
        let written = unsafe { write_kept(file) };
        if written != ffi::SQLITE_OK {
            return written;
        }
    }
    if !keeps {
        return pass!(xWrite, file, from, bytes, at);
    }
    // SAFETY: as above.
    let gathered = unsafe { &mut *file.cast::<Gathered>() };
    if gathered.kept.is_empty() {
        gathered.at = at;
        gathered.kept.reserve_exact(KEPT_BYTES_MAX);
    }
    // SAFETY: SQLite gives so many bytes.
    gathered.kept.extend_from_slice(unsafe { slice::from_raw_parts(from.cast::<u8>(), length) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    to: *mut c_void,
    bytes: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    pass_behind!(xRead, file, to, bytes, at)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, bytes: ffi::sqlite3_int64) -> c_int {
    pass_behind!(xTruncate, file, bytes)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    pass_behind!(xSync, file, flags)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, bytes: *mut ffi::sqlite3_int64) -> c_int {
    pass_behind!(xFileSize, file, bytes)
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    pass_behind!(xLock, file, level)
}

// A lock is given back whatever failed; nothing is kept by then.
unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    pass!(xUnlock, file, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    pass_behind!(xCheckReservedLock, file, out)
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    match operation {
        // The transaction is durable in the WAL, whatever became of a copy meanwhile: it must not seem to have failed.
        ffi::SQLITE_FCNTL_COMMIT_PHASETWO => return pass!(xFileControl, file, operation, argument),
        // SAFETY: SQLite calls this with a file that it has open.
        ffi::SQLITE_FCNTL_CKPT_START => unsafe { (*file.cast::<Gathered>()).keeps = true },
        // SAFETY: as above.
        ffi::SQLITE_FCNTL_CKPT_DONE => unsafe { (*file.cast::<Gathered>()).keeps = false },
        _ => {}
    }
    pass_behind!(xFileControl, file, operation, argument)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    pass!(xSectorSize, file)
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    pass!(xDeviceCharacteristics, file)
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    bytes: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    pass_behind!(xShmMap, file, region, bytes, extend, out)
}

unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    // As above.
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        return pass!(xShmLock, file, offset, count, flags);
    }
    pass_behind!(xShmLock, file, offset, count, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    pass!(xShmBarrier, file);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    pass!(xShmUnmap, file, delete)
}
