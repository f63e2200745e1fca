//! Where somebody was born: country codes (spec/pds.md §5.10), for updates and births alike.

/// ISO 3166-1 alpha-3, three letters each.
const COUNTRIES: &str = "\
ABWAFGAGOAIAALAALBANDAREARGARMASMATAATFATGAUSAUTAZEBDIBELBENBESBFABGDBGRBHRBHSBIHBLMBLRBLZBMUBOLBRABRBBRNBTNBVTBWACAF\
CANCCKCHECHLCHNCIVCMRCODCOGCOKCOLCOMCPVCRICUBCUWCXRCYMCYPCZEDEUDJIDMADNKDOMDZAECUEGYERIESHESPESTETHFINFJIFLKFRAFROFSM\
GABGBRGEOGGYGHAGIBGINGLPGMBGNBGNQGRCGRDGRLGTMGUFGUMGUYHKGHMDHNDHRVHTIHUNIDNIMNINDIOTIRLIRNIRQISLISRITAJAMJEYJORJPNKAZ\
KENKGZKHMKIRKNAKORKWTLAOLBNLBRLBYLCALIELKALSOLTULUXLVAMACMAFMARMCOMDAMDGMDVMEXMHLMKDMLIMLTMMRMNEMNGMNPMOZMRTMSRMTQMUS\
MWIMYSMYTNAMNCLNERNFKNGANICNIUNLDNORNPLNRUNZLOMNPAKPANPCNPERPHLPLWPNGPOLPRIPRKPRTPRYPSEPYFQATREUROURUSRWASAUSDNSENSGP\
SGSSHNSJMSLBSLESLVSMRSOMSPMSRBSSDSTPSURSVKSVNSWESWZSXMSYCSYRTCATCDTGOTHATJKTKLTKMTLSTONTTOTUNTURTUVTWNTZAUGAUKRUMIURY\
USAUZBVATVCTVENVGBVIRVNMVUTWLFWSMYEMZAFZMBZWE";

/// Codes of our own for parts of these islands: England, Scotland, Wales, Northern Ireland, Sark, Alderney, Channel Islands.
const PARTS: [&str; 7] = ["1", "2", "3", "4", "7", "9", "10"];

pub fn is_country(code: &str) -> bool {
    let listed = code.len() == 3 && COUNTRIES.as_bytes().chunks(3).any(|one| one == code.as_bytes());
    listed || PARTS.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_is_one_of_the_standard_or_a_part_of_these_islands() {
        let codes: Vec<&[u8]> = COUNTRIES.as_bytes().chunks(3).collect();
        assert_eq!(codes.len(), 249);
        assert!(codes.is_sorted() && codes.iter().all(|code| code.iter().all(u8::is_ascii_uppercase)));
        assert!(["GBR", "ABW", "ZWE", "1", "2", "3", "4", "7", "9", "10"].into_iter().all(is_country));
        // Not the other codes, not two letters, and not what spans two entries of the list.
        for no in ["5", "6", "8", "11", "01", "", "GB", "gbr", "BWA ", "XXX", "BWF", "England"] {
            assert!(!is_country(no), "{no}");
        }
    }
}
