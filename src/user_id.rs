use crate::error::{Error, ErrorKind, Result};

/// The same for every database: Postgres cannot store U+0000, and a key of an index has a size.
pub(crate) fn check_user_id(user_id: &str) -> Result<()> {
    const MAX: usize = 255;
    let message = if user_id.is_empty() {
        "the user id is empty"
    } else if user_id.len() > MAX {
        "the user id is longer than 255 bytes"
    } else if user_id.contains('\0') {
        "the user id holds U+0000"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidUserId, message))
}
