//! Keys and rings of them, before any session.

use sessile::{
    ErrorKind,
    encryption::{Encryption, Key},
};

use super::key;
use crate::support::Db;

#[tokio::test]
async fn they_come_from_files_and_from_services() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, contents: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    };
    // 32 bytes of which the last is a line feed are the key, too.
    for contents in [&[10; 32][..], b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"] {
        Key::from_file("k1", write("key", contents)).unwrap();
    }
    for contents in [&b""[..], b"secret", &[1; 31], &[1; 33], b"AAECAwQFBgcICQoLDA0ODw=="] {
        let error = Key::from_file("k1", write("key", contents)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("32 bytes"), "{error}");
    }
    let error = Key::from_file("k1", folder.path().join("none")).unwrap_err();
    assert!(error.to_string().contains("none"), "{error}");

    let key = Key::fetch("k1", async |id| Ok::<_, std::io::Error>(vec![id.len() as u8; 32])).await;
    assert_eq!(format!("{:?}", key.unwrap()), r#"Key { id: "k1", .. }"#);
    let short = Key::fetch("k1", async |_| Ok::<_, std::io::Error>(vec![1; 16])).await.unwrap_err();
    assert!(short.to_string().contains("16 bytes"), "{short}");
    let down = Key::fetch("k1", async |_| Err(std::io::Error::other("the service is down"))).await;
    let source = std::error::Error::source(&down.unwrap_err()).unwrap().to_string();
    assert_eq!(source, "the service is down");
}

#[tokio::test]
async fn names_and_rings_are_checked() {
    for id in ["", "K1", "a.b", "a\"", "ä", &"x".repeat(33)] {
        assert_eq!(Key::new(id, [1; 32]).unwrap_err().kind(), ErrorKind::Configuration, "{id}");
    }
    let db = Db::empty_sqlite().await;
    for (encryption, what) in [
        (Encryption::new(key("k1")).read(key("k1")), "both the active one"),
        (Encryption::new(key("k1")).retire("k1"), "both retired and in use"),
        (Encryption::new(key("k1")).read(key("k2")).retire("k2"), "both retired and in use"),
    ] {
        let error = db.builder().await.encryption(encryption).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(what), "{error}");
    }
    let shown = format!("{:?}", Encryption::new(key("k1")));
    assert!(shown.contains("k1") && !shown.contains("bytes"), "{shown}");
    db.drop().await;
}
