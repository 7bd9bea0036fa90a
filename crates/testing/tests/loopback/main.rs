fn main() {
    tidemill_core::init();
}
