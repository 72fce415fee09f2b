//! Who asks at the token endpoint (RFC 6749 §2.3)?
