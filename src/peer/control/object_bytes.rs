//! The bytes of an object for a person: from the peer of this process, or from a peer of another process.

use crate::id::ContentId;
use crate::peer::api::{Failure, RangeReport};
use crate::peer::flows::relay;
use crate::peer::shared::GATHER;
use crate::transport::{CommandReplies, Rope};
use crate::wire::ObjectInfo;
use crate::wire::limits::PIECE_BYTES;

/// The bytes of an object, piece by piece.
pub struct ObjectBytes {
    content: ContentId,
    left: u64,
    /// Whether these are all bytes of the object, so that their hash is its content id.
    is_whole: bool,
    pieces: Pieces,
}

enum Pieces {
    Local(relay::Pieces),
    Remote(CommandReplies),
}

impl ObjectBytes {
    pub(in crate::peer) fn of_pieces(object: ObjectInfo, pieces: relay::Pieces) -> ObjectBytes {
        ObjectBytes {
            content: object.content,
            left: object.length,
            is_whole: true,
            pieces: Pieces::Local(pieces),
        }
    }

    /// The whole object that a peer of another process sends behind its reply.
    pub(super) fn of_replies(object: ObjectInfo, replies: CommandReplies) -> ObjectBytes {
        let pieces = Pieces::Remote(replies);
        ObjectBytes { content: object.content, left: object.length, is_whole: true, pieces }
    }

    /// The range that a peer of another process sends behind its reply.
    pub(super) fn of_range_in_replies(report: &RangeReport, replies: CommandReplies) -> ObjectBytes {
        ObjectBytes::of_range(report, Pieces::Remote(replies))
    }

    fn of_range(report: &RangeReport, pieces: Pieces) -> ObjectBytes {
        let left = report.range.length();
        ObjectBytes { content: report.content, left, is_whole: false, pieces }
    }

    pub(in crate::peer) fn of_local_range(report: &RangeReport, pieces: relay::Pieces) -> ObjectBytes {
        ObjectBytes::of_range(report, Pieces::Local(pieces))
    }

    /// The number of bytes that are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The content id that the hash of all bytes is compared with; `None` for a range, which the peer has checked.
    pub(in crate::peer) fn whole(&self) -> Option<ContentId> {
        self.is_whole.then_some(self.content)
    }

    /// The next bytes; `None` at the end of the object.
    ///
    /// # Errors
    /// When not all bytes come.
    pub async fn next(&mut self) -> Result<Option<Rope>, Failure> {
        if self.left == 0 {
            return Ok(None);
        }
        let piece = match &mut self.pieces {
            Pieces::Local(pieces) => match pieces.recv().await {
                Some(Ok(mut piece)) => {
                    // A range ends within a piece.
                    piece.truncate(self.left.min(piece.len() as u64) as usize);
                    Ok(Some(Rope::from(piece)))
                }
                Some(Err(error)) => Err(error.to_string()),
                None => Ok(None),
            },
            Pieces::Remote(replies) => replies.gather(PIECE_BYTES, GATHER).await.map_err(|e| e.to_string()),
        };
        let content = self.content;
        match piece {
            Ok(Some(piece)) if piece.len() as u64 <= self.left => {
                self.left -= piece.len() as u64;
                Ok(Some(piece))
            }
            Ok(_) => Err(Failure::new(format!("sha256:{content} has another length than was said"))),
            Err(why) => Err(Failure::new(format!("sha256:{content} did not come whole: {why}"))),
        }
    }
}
