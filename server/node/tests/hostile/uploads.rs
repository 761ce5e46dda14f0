//! Modules that claim much and are little, never end, or stand still.

use crate::MIB;
use crate::attacker::{Attacker, framed, pour, read, session, until_it_stops};
use crate::target::{Target, soon};
use jobraft_protocol::limits::{CHUNK_BYTES, CLIENT_STREAMS_MAX, MODULE_BYTES_MAX};
use jobraft_protocol::{Digest, Error, ErrorCode, ModuleManifest, StreamOpen};
use quinn::Connection;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// What uploads and honest work take: windows of QUIC and pieces on their way to disk, never whole modules.
const BY_UPLOADS: usize = 40 * MIB;

async fn upload(connection: &Connection, bytes: &[u8], size: u64) -> Result<ModuleManifest, Error> {
    let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
    let digest = Digest(Sha256::digest(bytes).into());
    soon(send.write_all(&framed(&StreamOpen::Upload {
        digest,
        size,
        name: None,
        signatures: vec![],
        namespace: None,
    })))
    .await
    .unwrap();
    // The node may have seen enough before the end.
    let _ = soon(send.write_all(bytes)).await;
    let _ = send.finish();
    read(&mut recv).await
}

/// A number as modules write it (LEB128).
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn section(id: u8, body: &[u8]) -> Vec<u8> {
    [vec![id], leb(body.len()), body.to_vec()].concat()
}

/// A module of these sections, and with a function `_start` that has `locals` locals.
fn module(more: &[Vec<u8>], locals: usize) -> Vec<u8> {
    let code = [vec![1], leb(locals), vec![0x7f, 0x0b]].concat();
    let [tables_and_memories, rest] = more else { panic!("two kinds") };
    let header = b"\0asm\x01\0\0\0".to_vec();
    let (types, functions) = (section(1, &[1, 0x60, 0, 0]), section(3, &[1, 0]));
    let export = section(7, &[&[1, 6][..], b"_start", &[0, 0]].concat());
    let code = section(10, &[vec![1], leb(code.len()), code].concat());
    [header, types, functions, tables_and_memories.clone(), export, code, rest.clone()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_claims_much_takes_no_memory_at_the_node() {
    let mut target = Target::start();
    let mut honest = target.honest().await;
    let connection = Attacker::new(&target, "mallory").connect().await;
    target.begin();
    let (none, most) = (Vec::new(), leb(u32::MAX as usize));
    let table = section(4, &[&[1, 0x70, 0][..], &most].concat());
    let memory = section(5, &[&[1, 0][..], &leb(65_536)].concat());
    let memory_beyond = section(5, &[&[1, 0][..], &leb(65_537)].concat());
    let counted = |id: u8| [b"\0asm\x01\0\0\0".to_vec(), section(id, &most)].concat();
    let mut bombs = vec![
        // All that a module may have by itself: a worker's limits decide when it runs.
        (module(&[[table, memory].concat(), none.clone()], 40_000), true),
        (module(&[memory_beyond, none.clone()], 1), false),
        (module(&[none.clone(), none.clone()], 4_000_000_000), false),
    ];
    // Lists of four billion types, imports, functions, tables, memories, globals, exports, elements, codes, data.
    bombs.extend([1, 2, 3, 4, 5, 6, 7, 9, 10, 11].map(|id| (counted(id), false)));
    // A million types, a million functions of four bytes each.
    bombs.push((
        [b"\0asm\x01\0\0\0".to_vec(), section(1, &[leb(1_000_000), [0x60, 0, 0].repeat(1_000_000)].concat())].concat(),
        false,
    ));
    for (bytes, taken) in bombs {
        let answer = upload(&connection, &bytes, bytes.len() as u64).await;
        match answer {
            Ok(_) => assert!(taken, "{:02x?}…", &bytes[..bytes.len().min(40)]),
            Err(error) => assert!(!taken && error.code == ErrorCode::ModuleInvalid, "{error}"),
        }
        honest.enqueue("honest", 10).await;
    }
    honest.works().await;
    target.held_at_most("modules that claim much", 200 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_without_end_is_refused() {
    let mut target = Target::start();
    let mut honest = target.honest().await;
    let connection = Attacker::new(&target, "mallory").connect().await;
    target.begin();
    let endless = vec![0; 20 * MIB];
    let refused = upload(&connection, &endless, MIB as u64).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidArgument, "{refused}");
    let refused = upload(&connection, &[0; CHUNK_BYTES], u64::MAX).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::TooLarge, "{refused}");
    honest.works().await;
    target.held_at_most("uploads without end", BY_UPLOADS);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_stand_still_keep_nobody_out_and_leave_nothing() {
    let mut target = Target::start();
    let mut honest = target.honest().await;
    let attacker = Attacker::new(&target, "mallory");
    target.begin();
    let taken = Arc::new(AtomicUsize::new(0));
    let mut open = Vec::new();
    for _ in 0..2 {
        let connection = attacker.connect().await;
        for number in 0..CLIENT_STREAMS_MAX {
            let (send, recv) = soon(connection.open_bi()).await.unwrap();
            let digest = Digest([number as u8; 32]);
            let mut bytes = framed(&StreamOpen::Upload {
                digest,
                size: MODULE_BYTES_MAX,
                name: None,
                signatures: vec![],
                namespace: None,
            });
            bytes.resize(bytes.len() + 2 * MIB, 0);
            pour(send, bytes, &taken);
            open.push((connection.clone(), recv));
        }
    }
    until_it_stops(&taken).await;
    let other = Attacker::new(&target, "other").connect().await;
    let module = module(&[Vec::new(), Vec::new()], 1);
    upload(&other, &module, module.len() as u64).await.expect("another client's module is taken");
    honest.works().await;
    target.held_at_most("uploads that stand still", BY_UPLOADS);
    for (connection, _) in &open {
        connection.close(0_u32.into(), b"");
    }
    drop(open);
    while target.unfinished_uploads() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(session(&other).await);
}
