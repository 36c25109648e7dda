//! What a conversation must hold: nothing that was not judged reaches aria2, and each answer reaches its question.
