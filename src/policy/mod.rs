//! Rules in, verdict out. Pure.

// Written by the policy helper: Rules, Subject, Ask, Decision.
