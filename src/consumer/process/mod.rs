//! Processes: how an attempt's command is started, watched and ended.
