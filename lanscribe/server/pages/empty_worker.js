// Registered and removed at once by trust_check.js; it does nothing.
