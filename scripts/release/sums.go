package main

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// publicKey is the name under which the public key is published, and kept in a router's
// /etc/apk/keys: apk looks for the name that the signature bears.
const publicKey = "edgesync.rsa.pub"

var errKey = errors.New("the key must be a private RSA key in PEM")

const sumsFile = "SHA256SUMS"

// sums lists the files of a directory as sha256sum does, sorted by name.
func sums(dir string) (string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, e := range list {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		sum := sha256.New()
		_, err = io.Copy(sum, f)
		f.Close()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s  %s\n", hex.EncodeToString(sum.Sum(nil)), e.Name())
	}
	return b.String(), nil
}

// seal writes SHA256SUMS over everything in the out directory and, with a key, signs it.
func (r *release) seal() error {
	var private *rsa.PrivateKey
	if r.key != "" {
		var err error
		if private, err = readKey(r.key); err != nil {
			return err
		}
		der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
		if err != nil {
			return err
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		if err := os.WriteFile(filepath.Join(r.out, publicKey), text, 0o644); err != nil {
			return err
		}
	}
	text, err := sums(r.out)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.out, sumsFile), []byte(text), 0o644); err != nil {
		return err
	}
	if private == nil {
		return nil
	}
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:])
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, sumsFile+".sig"), signature, 0o644)
}

// readKey reads a private RSA key. Its errors do not repeat what the file holds.
func readKey(path string) (*rsa.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errKey
	}
	if k, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return k, nil
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if private, ok := k.(*rsa.PrivateKey); err == nil && ok {
		return private, nil
	}
	return nil, errKey
}
