# SPDX-License-Identifier: Apache-2.0
"""The decoder's hashes and its zstd: known answers."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from slow_encoder import flip, pseudo, skewed, words, XXH3
from xxh3 import xxh3_64, xxh3_128
from zstd import ZstdError, decompress


ZSTD_FRAMES = (      # content, frame, from libzstd 1.5.7
    # Huffman weights in FSE, own, predefined and repeated FSE tables
    (words(400),
     "28b52ffd607607f4050002050f11c0b701642457a459a116e9e6ff9fd7890380eefa7cb6a1b63dd728b6a152dbb3706b8baaf01079a7c2ab181d4ccdbfc3745b"
     "142e28b82b9523c90140a8f19286290cfb192046809cbb1e11203481453431029c3419e642851ceba5415e4dc9ba9f0e98ee29b0a39a80ee9aad50e96f8b2575"
     "627a56695e43bf008449058e1a9fb17646a3e299dfbff937675c5880306c786d72dabb8c413fab28f318c50ccdb4b41a3e1c90424bdf3eac1f96216c81fcbf49"
     "37ae9306af5c570d3c040058616e6461696e6f6661627939e02002428c43761ef10e879c2ad997f521e7bb624fd4e6355d72766de71e0252b62983908e77e532"
     "c5890faa6608c8a22e1c34e3ecc4b254505e22eec664cd649f4a1464e1e6e980d2dd16e8a2ee59f91da3e3657e17ac299862871333e13adc50fbedc2b87b8e34"
     "74cc0cb4071dd3b634039e959f0ea142bbf0f4030018696e6639a8f0392044400872287d11200c018b58812168308262a80c6328893747873c19ff79055c420e"
     "7f684130c2e472e6fea959ab3dec6a5e4026dcb7d5fecda332c5c5479f2334819b721433f0287e9861659eb78b4cff7b5d8d202ad28ae248866fe80be0dd4e35"
     "a4a73a5c57d231f19fc7a5a0728978284123d3010000"),
    # four streams, the Huffman table of the block before, checksum
    (skewed(900),
     "28b52ffd6484022c0400d652200dc0a70384969a08d9920100e0bc1d001b001b005ae41d071755c992250492b7be6407f0b2bedbd2c46909c8cca7ce13846a98"
     "94b61768c8a39a957cd5f5d570511fbb8b8941df23d5e74902e533f15d2cedbe750a3e6ca85b4f676a2548d81a765ae940d70d6adb19c3fe2b7323f076ad4520"
     "f701fad1fea8b5dfa5633fb892e000f4030027121d1b001b001c00e5f6c8b4686999e41aafeb4a5ce01e9aadbec3080255e0ef28dc05d7124086fa0ad4a2677d"
     "fc5a5458067d60bdac7bb2740884645a031ac45011ce4e8e15142f77a82af17514b7587c00ec770f6eb91d80082e34e0c5334bc1e335b305b5dee638115f94ee"
     "9cc7270f8e840b0261020080680fc009d40300a7921d1d001d001a002e4c3c1d1bca94479fba4aa53ea40ce94ce21fa2ced2898b5dad609136963e0aacef3088"
     "f13f8e751bdc153257f376a57e2d5821d0f30c3013126b0ce2e85abe57816f7f0c083679135575a5829aba03cb5cd70d5a46b810f325ace49835d354e05e540d"
     "d585eeaa022f2fdd130c6e60000100000985e4d7"),
    # all kinds of literals and tables
    (skewed(300) + words(60) + skewed(200, 7) + words(60),
     "28b52ffd606c033c0600c24e2116a015261d1fbf29d71a91b66b2dd95bf2ffffa87e0503c43884c04a602236020ae120030751020729800915152da22046193b"
     "78cd851d7a4bc5f218142a224b25af6479cf7271e0a1cda9c852e1d8afb95e60a59cd47bd6f4d492d7863ebfe1d35f2870ce807639d3d1fe8c3db338d0175c1b"
     "6b5ca839f0c95b4eb4fb77590dcf1df62a011c28101ae2ac3d1080eb30075be9c9e025d08ce3ab78b4f9edcabee443ce2dd9a369b652045f170f2a63795b03c5"
     "65d4d457a1d14c5135c73c1fac1062ab3244040073850a0ce6bc7becd29a1e0cf70d5d68dda57a09e59b807531020b3b50b854f81cb41cee01891de00009bb00"
     "7c29a8306dd242bb012042c3289b1d10485501d9b4e51ab680e8ae01b2ec645105afb6b788cf6e310d71bb33ab4884cc46ae02186c07683c8444546f35fb18c4"
     "ba3a2766de00b359401ae1a460345ef55bb15387317ca64144327c02d4010074026b6262616d686a61626a61616c64696168656262696a6469616a6261686169"
     "6a69696261636b6105303907a218ca0b010a823a7ea3412201010000"),
    # Huffman weights of 4 bits
    (bytes(x >> 4 for x in pseudo(300)),
     "28b52ffd602c00fc010052c60e8e21122322311113201545a3f453c49438c361b32cdcc60f92535748042c5e1fc0226e5e1b145afaf00f144b1eb559cdf544c6"
     "08ee249b9865be1200d4010053860d57a3d84d61041c3643120dcb8b0d200aa17186e49e69cc0c50045100537ae333520527f29c0050d674a22ac834c0901260"
     "0a4131a20f00cc010023460d25484e29185543136677c3ea41015bca817a90bbaa1d19cd4002ad6503854f3c46718970e1088e1c0f634c15e2aba9184684b009"
     "0100010000"),
    # one code for all match lengths
    (b"".join(pseudo(24, i) + b"constant" for i in range(12)),
     "28b52ffd608000dd0900841200dc0465aa1fad1d5adae5ac1b1e5f1370796cfd10ff19af636f6e7374616e74c67e816b4bfbe2fb54f6bddf7c1ce18701bf31de"
     "56720f478c21ff72edd718d94e139513dc1b63fc9306f6bf9ce506e053c37d788eb44db7482f6d463d19e570244cbba0e358fc781966fb7f2f908295424b4579"
     "9d1767e5b593808129caf310df097885d16cb8733c681dacfd15e95946d944626f3deaa9a6abf68c7249ed513784f5df5e146bced8200943b6b0e0416c4e7492"
     "1325222e31a1cd13be12ed426966ce24fc23d7da32f0f299b401570c2bbda5461f106fb7faad93054295cd72f8936f9f56de8dea25d97d797f0ef12b8bf358e5"
     "8908c40abf36eda6f7bac2c81ff655ace00d73a01d3a1dc6cf7bbba385d86bac9896f7a619122ddf400bf515ae80e1a715eeb13b0ba410fe3f2f0fe035070500"
     "00408b43ca"),
    # repeated offsets
    (b"".join(b"aaa"[:x & 3] + pseudo(9, 77) for x in pseudo(10)),
     "28b52ffd246fc40000806161a5c4d5592d65b7d9916161a5c4d502002d1b3057bc8400003861a5c4d5592d65035000059117438894000048a5c4d5592d65b7d9"
     "91034000c0e8ecd1e201000008f522bf"),
    # long matches
    (words(30) + bytes(3000) + words(30) + bytes(3000) + words(40),
     "28b52ffd608e184d030062430b11c0b7016424590a1a35a1245c555df087041669f0c37459978c72643beb41b295f68eb69e2ebb61f861e94dd9160053953075"
     "016c3443114b1dd0cf2f421f6887fbd318175e3129196a16b82980c5996216307501ce03a42adbeaaeab367c1ed0cc1cda2b07"),
    # RLE blocks
    (bytes(300000),
     "28b52ffda0e09304004c000008000100fcffe44e0802001000039f0400"),
    # raw block
    (pseudo(40),
     "28b52ffd2028410100c67e816b4bfbe2fb54f6bddf7c1ce18701bf31de56720f4767668759aa883c59ea56137bd285a1d8"),
    # nothing
    (b"",
     "28b52ffd2000010000"),
)


class HashTest(unittest.TestCase):
    def test_known_answers(self):
        for size, hash64, hash128 in XXH3:
            data = pseudo(size)
            self.assertEqual("%016x" % xxh3_64(data), hash64, size)
            self.assertEqual("%032x" % xxh3_128(data), hash128, size)


class ZstdTest(unittest.TestCase):
    def test_frames(self):
        for content, frame in ZSTD_FRAMES:
            self.assertEqual(decompress(bytes.fromhex(frame), len(content)), content)

    def test_corrupt_frames(self):
        for content, frame in ZSTD_FRAMES:
            frame = bytes.fromhex(frame)
            for bad, size in ((frame, len(content) + 1), (frame[:-1], len(content)), (frame + b"\0", len(content)),
                              (frame + frame, len(content)), (frame[1:], len(content)), (b"", len(content))):
                with self.assertRaises(ZstdError):
                    decompress(bad, size)
        checksum = bytearray.fromhex(ZSTD_FRAMES[1][1])
        checksum[-1] ^= 1
        with self.assertRaisesRegex(ZstdError, "checksum"):
            decompress(checksum, 900)
        with self.assertRaisesRegex(ZstdError, "not stated"):
            decompress(bytes.fromhex("28b52ffd0058010000"), 0)
        with self.assertRaisesRegex(ZstdError, "dictionary"):
            decompress(bytes.fromhex("28b52ffd210700010000"), 0)
        self.assertEqual(decompress(bytes.fromhex("28b52ffd2003190000616263"), 3), b"abc")

    def test_flipped_bits(self):
        for content, frame in ZSTD_FRAMES[3:]:
            frame = bytes.fromhex(frame)
            for bit in range(0, 8 * len(frame), 3):
                try:
                    decompress(flip(frame, bit), len(content))
                except ZstdError:
                    pass


if __name__ == "__main__":
    unittest.main()
