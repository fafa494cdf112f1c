//! A store that fails, stalls or loses replies on cue.
