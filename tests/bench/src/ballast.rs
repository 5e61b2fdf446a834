//! Modules of a wanted size: a guest with code beside it that is compiled and loaded, and never called.
//!
//! A component may hold core modules that nobody instantiates. So the guest is unchanged, and the size is code, not
//! padding that a compiler skips.

/// `component` with so much code added that it has `bytes` at least. Another `variant` is another module.
pub fn grown(component: &[u8], bytes: usize, variant: u32) -> Vec<u8> {
    let wanted = bytes.saturating_sub(component.len());
    let module = core_module(wanted, variant);
    let mut all = component.to_vec();
    // Section 1 of a component: a core module.
    all.push(1);
    leb(&mut all, module.len() as u64);
    all.extend(module);
    all
}

/// A core module of functions `(i32, i32) -> i32` that mix their arguments.
fn core_module(bytes: usize, variant: u32) -> Vec<u8> {
    const STEPS: u32 = 60;
    let mut bodies = Vec::new();
    let mut count: u32 = 0;
    while bodies.len() < bytes {
        // No locals; argument 0 is on the stack.
        let mut body = vec![0x00, 0x20, 0x00];
        for step in 0..STEPS {
            let constant = count.wrapping_mul(0x9e37_79b9).wrapping_add(step * 7919 + variant);
            // * constant + argument 1, rotated.
            body.push(0x41);
            signed_leb(&mut body, constant as i32);
            body.extend([0x6c, 0x20, 0x01, 0x6a, 0x41, (step % 31) as u8, 0x77]);
        }
        body.push(0x0b);
        leb(&mut bodies, body.len() as u64);
        bodies.extend(body);
        count += 1;
    }
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 1, &[1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f]);
    let mut functions = Vec::new();
    leb(&mut functions, count.into());
    let head = functions.clone();
    functions.extend(std::iter::repeat_n(0, count as usize));
    section(&mut module, 3, &functions);
    section(&mut module, 10, &[head, bodies].concat());
    module
}

fn section(module: &mut Vec<u8>, id: u8, content: &[u8]) {
    module.push(id);
    leb(module, content.len() as u64);
    module.extend_from_slice(content);
}

fn leb(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn signed_leb(out: &mut Vec<u8>, mut value: i32) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_size_that_was_asked_for_and_variants_differ() {
        let component = b"\0asm\x0d\0\x01\0".as_slice();
        let [one, two] = [1, 2].map(|variant| grown(component, 1 << 20, variant));
        assert!((1 << 20..(1 << 20) + 50_000).contains(&one.len()), "{}", one.len());
        assert!(one != two && one.starts_with(component));
    }
}
