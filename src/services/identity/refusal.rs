//! Every refusal of the token service (spec/identity.md §3, §1, §4.1), in the order in which the first answers.

macro_rules! refusals {
    ($($(#[doc = $doc:literal])* $place:literal $name:ident $status:literal $error:literal $text:literal;)*) => {
        /// A refusal. Its number is its place: of two that hold, the lower is told. Ten apart, after the rows of §3.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Refusal { $($(#[doc = $doc])* $name = $place),* }
        impl Refusal {
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name),*];
            /// HTTP status, `error`, `error_description`.
            pub fn told(self) -> (u16, &'static str, &'static str) {
                match self { $(Refusal::$name => ($status, $error, $text)),* }
            }
            /// The refusal of this place; `None` for 0, which means that nothing is wrong.
            pub fn of(place: u8) -> Option<Refusal> {
                match place { $($place => Some(Refusal::$name),)* _ => None }
            }
            /// A stable word for the audit trail.
            pub fn word(self) -> &'static str {
                match self { $(Refusal::$name => stringify!($name)),* }
            }
        }
    };
}

refusals! {
    10 ContentType 415 "invalid_request" "Content-Type header must be application/x-www-form-urlencoded";
    /// (D) A body of more than 64 KiB, or one that is no form.
    15 Unreadable 400 "invalid_request" "The body cannot be read";
    20 GrantMissing 400 "invalid_request" "grant_type is missing";
    30 GrantUnknown 400 "unsupported_grant_type" "grant_type is invalid";
    40 AssertionType 400 "invalid_request" "Missing or invalid client_assertion_type - must be 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'";
    50 AssertionMissing 400 "invalid_request" "Missing client_assertion";
    60 Malformed 400 "invalid_request" "Malformed JWT in client_assertion";
    70 Algorithm 400 "invalid_request" "Invalid 'alg' header in client_assertion JWT - unsupported JWT algorithm - must be 'RS512'";
    80 Expired 400 "invalid_request" "Invalid 'exp' claim in client_assertion JWT - JWT has expired";
    90 KidMissing 400 "invalid_request" "Missing 'kid' header in client_assertion JWT";
    100 Type 400 "invalid_request" "Invalid 'typ' header in client_assertion JWT - must be 'JWT'";
    110 ExpMissing 400 "invalid_request" "Missing 'exp' claim in client_assertion JWT";
    120 ExpType 400 "invalid_request" "Invalid 'exp' claim in client_assertion JWT - must be an integer";
    130 Issuer 400 "invalid_request" "Missing or non-matching 'iss'/'sub' claims in client_assertion JWT";
    140 JtiMissing 400 "invalid_request" "Missing 'jti' claim in client_assertion JWT";
    150 JtiType 400 "invalid_request" "Invalid 'jti' claim in client_assertion JWT - must be a unique string value such as a GUID";
    160 JtiSeen 400 "invalid_request" "Non-unique 'jti' claim in client_assertion JWT";
    170 ExpFar 400 "invalid_request" "Invalid 'exp' claim in client_assertion JWT - more than 5 minutes in future";
    180 ClientUnknown 401 "invalid_request" "Invalid 'iss'/'sub' claims in client_assertion JWT";
    /// §4.1; (D) its place here.
    185 NotApproved 401 "access_denied" "The developer app associated with the API key is not approved or revoked";
    190 NoKey 403 "public_key error" "You need to register a public key to use this authentication method - please contact support to configure";
    /// Its address has given no keys yet.
    200 KeySetUnreachable 403 "public_key error" "The JWKS endpoint, for your client_assertion can't be reached";
    210 KidUnknown 401 "invalid_request" "Invalid 'kid' header in client_assertion JWT - no matching public key";
    220 Signature 401 "public_key error" "JWT signature verification failed";
    230 Audience 401 "invalid_request" "Missing or invalid 'aud' claim in client_assertion JWT";
    240 NoScope 401 "unauthorized_client" "you have tried to request authorization but your application is not configured to use this authorization grant type";
    /// (D) Revocation and introspection without a token.
    250 TokenMissing 400 "invalid_request" "token is missing";
    /// By code, refresh token or exchange (§4.2, §4.3, §5); their numbers have no order among the others'.
    1 ClientMissing 401 "invalid_request" "client_id is missing";
    2 SecretMissing 401 "invalid_request" "client_secret is missing";
    3 SecretWrong 401 "invalid_client" "client_id or client_secret is invalid";
    4 RedirectMissing 400 "invalid_request" "redirect_uri is missing";
    5 RedirectWrong 400 "invalid_request" "redirect_uri is invalid";
    6 CodeMissing 400 "invalid_request" "authorization_code is missing";
    7 CodeUnknown 400 "invalid_grant" "authorization_code is invalid";
    8 RefreshMissing 400 "invalid_request" "refresh_token is missing";
    9 RefreshUnknown 401 "invalid_grant" "refresh_token is invalid";
    11 RefreshOver 401 "invalid_grant" "refresh token refresh period has expired";
    31 ExchangeGrant 400 "invalid_request" "grant_type is invalid";
    /// (D) A citizen's ID token without what must be known of them.
    32 SubjectClaims 400 "invalid_request" "Missing or invalid claims in subject_token JWT";
    /// The JWT of the one for whom a citizen acts (§5).
    33 ActedMissing 400 "invalid_request" "Missing 'sub' claim in act claim of subject_token JWT";
    34 ActedMalformed 400 "invalid_request" "Malformed JWT in act.sub";
    35 ActedKidMissing 400 "invalid_request" "Missing 'kid' header in act.sub JWT";
    36 ActedTypMissing 400 "invalid_request" "Missing 'typ' header in act.sub JWT";
    37 ActedTyp 400 "invalid_request" "Invalid 'typ' header in act.sub JWT - must be 'JWT'";
    38 ActedAlgMissing 400 "invalid_request" "Missing 'alg' header in act.sub JWT";
    39 ActedExpMissing 400 "invalid_request" "Missing 'exp' claim in act.sub JWT";
    41 ActedExpType 400 "invalid_request" "Invalid 'exp' claim in act.sub JWT - must be an integer";
    42 ActedExpired 400 "invalid_request" "Invalid 'exp' claim in act.sub JWT - JWT has expired";
    43 ActedIssMissing 400 "invalid_request" "Missing 'iss' claim in act.sub JWT";
    44 ActedIss 400 "invalid_request" "Missing or non-matching 'iss' claim in act.sub JWT";
    45 ActedAudMissing 400 "invalid_request" "Missing 'aud' claim in act.sub JWT";
    46 ActedNumberMissing 400 "invalid_request" "Missing 'nhs_number' claim in act.sub JWT";
    47 ActedNumber 400 "invalid_request" "Invalid 'nhs_number' claim in act.sub JWT";
    48 ActedKid 401 "invalid_request" "Invalid 'kid' header in act.sub JWT - no matching public key";
    49 ActedSignature 401 "invalid_request" "JWT signature verification failed";
    241 SubjectType 400 "invalid_request" "missing or invalid subject_token_type - must be 'urn:ietf:params:oauth:token-type:id_token'";
    242 SubjectMissing 400 "invalid_request" "Missing subject_token";
    243 SubjectMalformed 400 "invalid_request" "Malformed JWT in subject_token";
    244 SubjectKidMissing 400 "invalid_request" "Missing 'kid' header in subject_token JWT";
    245 SubjectTyp 400 "invalid_request" "Invalid 'typ' header in subject_token JWT - must be 'JWT'";
    246 SubjectExpMissing 400 "invalid_request" "Missing 'exp' claim in subject_token JWT";
    247 SubjectExpType 400 "invalid_request" "Invalid 'exp' claim in subject_token JWT - must be an integer";
    248 SubjectExpired 400 "invalid_request" "Invalid 'exp' claim in subject_token JWT - JWT has expired";
    249 SubjectIssMissing 400 "invalid_request" "Missing 'iss' claim in subject_token JWT";
    251 SubjectIss 400 "invalid_request" "Missing or non-matching 'iss' claim in subject_token JWT";
    252 SubjectAudMissing 401 "invalid_request" "Missing 'aud' claim in subject_token JWT";
    253 SubjectKid 401 "invalid_request" "Invalid 'kid' header in subject_token JWT - no matching public key";
    /// (D) The signature of a subject token.
    254 SubjectSignature 401 "invalid_request" "JWT signature verification failed";
    /// (D) The session of the subject token has ended, or its person may not enter any more.
    255 SubjectOver 400 "invalid_grant" "The session of the subject_token has ended";
}

impl Refusal {
    /// The place among the refusals of a token exchange, whose later rows have lower numbers than its first.
    pub fn of_exchange(self) -> u16 {
        let number = self as u16;
        if (Refusal::SubjectClaims as u16..=Refusal::ActedSignature as u16).contains(&number) {
            256 + number
        } else {
            number
        }
    }
}
